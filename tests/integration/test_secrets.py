"""Secrets Manager: versions and their labels, what goes away and comes back, lists and filters,
who may read; every answer held against botocore's model, with its client, the AWS CLI and raw
requests. What was answered is there after a kill, and cannot be read in the server's files."""
import base64
import contextlib
import datetime
import http.client
import json
import os
import pathlib
import re
import shutil
import string
import subprocess
import threading
import uuid

import botocore.exceptions
import cluster as clusters
import pytest
from cluster import FAIRLEAD, idle, run
from test_credentials import Container, address, client, refused
from test_surface import checked, smallest

PREFIX = "arn:aws:secretsmanager:us-east-1:000000000000:secret:"
GONE = "Secrets Manager can't find the specified secret."
MARKED = ("You can't perform this operation on the secret because it was marked for deletion.")
NOT_SERVED = {"CancelRotateSecret", "PutResourcePolicy", "RemoveRegionsFromReplication",
              "ReplicateSecretToRegions", "RotateSecret", "StopReplicationToReplica",
              "ValidateResourcePolicy"}
# In newer models than api/secretsmanager.api was made from: unknown.
NEWER = {"AssociateCrossAccountReplica", "DisassociateCrossAccountReplica", "ListResourcePolicies"}
# Documented, but nothing here can bring it about.
UNPROVOKED = {
    "InternalServiceError": "only a fault of the server's own",
    "EncryptionFailure": "there is no KMS that could refuse",
    "DecryptionFailure": "a record that cannot be opened ends the start",
    "MalformedPolicyDocumentException": "there are no policies",
    "PreconditionNotMetException": "there are no policies",
}


@pytest.fixture(scope="module")
def vaulted():
    """An installation with secrets of this file's own."""
    made = clusters.Cluster()
    try:
        made.up()
        yield made
    except BaseException:
        print(made.diagnose())
        raise
    finally:
        made.uninstall()
    leaks = made.leaks()
    assert not leaks, "\n".join(leaks)


@pytest.fixture
def sm(vaulted):
    yield vaulted.secretsmanager
    for secret in listed(vaulted.secretsmanager, IncludePlannedDeletion=True):
        vaulted.secretsmanager.delete_secret(SecretId=secret["ARN"],
                                             ForceDeleteWithoutRecovery=True)


def listed(sm, **members):
    pages = sm.get_paginator("list_secrets").paginate(**members)
    return [secret for page in pages for secret in page["SecretList"]]


def names(sm, **members):
    return [secret["Name"] for secret in listed(sm, **members)]


def token():
    return str(uuid.uuid4())


def stages(sm, name):
    """Labels by version, of those that have any."""
    found = sm.describe_secret(SecretId=name).get("VersionIdsToStages", {})
    return {version: sorted(labels) for version, labels in found.items()}


# ---- making and reading ----

def test_a_secret_is_found_by_name_and_arn(sm):
    made = sm.create_secret(Name="a/b-c_d+e=f.g@h!", SecretString="geheim", Description="d",
                            Tags=[{"Key": "k", "Value": "v"}], KmsKeyId="alias/mine")
    assert re.fullmatch(re.escape(PREFIX + made["Name"]) + "-[A-Za-z0-9]{6}", made["ARN"])
    for way in (made["Name"], made["ARN"], made["ARN"][:-7]):
        found = sm.get_secret_value(SecretId=way)
        assert (found["ARN"], found["Name"]) == (made["ARN"], made["Name"])
        assert (found["SecretString"], found["VersionId"]) == ("geheim", made["VersionId"])
        assert found["VersionStages"] == ["AWSCURRENT"] and "SecretBinary" not in found
        assert abs(found["CreatedDate"].timestamp() - datetime.datetime.now().timestamp()) < 60
    shown = sm.describe_secret(SecretId=made["ARN"])
    assert (shown["Description"], shown["KmsKeyId"]) == ("d", "alias/mine")
    assert shown["Tags"] == [{"Key": "k", "Value": "v"}]
    assert shown["VersionIdsToStages"] == {made["VersionId"]: ["AWSCURRENT"]}
    today = datetime.datetime.now(datetime.timezone.utc).date()
    assert shown["LastAccessedDate"].astimezone(datetime.timezone.utc).date() == today
    assert shown["LastAccessedDate"].timestamp() % 86400 == 0
    for wrong in (made["ARN"][:-1] + ("x" if made["ARN"][-1] != "x" else "y"),
                  made["ARN"].replace("us-east-1", "eu-west-1"), "a/b"):
        assert refused(sm.get_secret_value, SecretId=wrong) == ("ResourceNotFoundException", GONE)


def test_a_name_that_looks_like_an_arn_s_end(sm):
    """A name may end in a hyphen and six characters; each ARN still means one secret."""
    short = sm.create_secret(Name="db", SecretString="short")
    long = sm.create_secret(Name=short["ARN"][len(PREFIX):], SecretString="long")
    assert sm.get_secret_value(SecretId=short["ARN"])["SecretString"] == "short"
    assert sm.get_secret_value(SecretId=long["ARN"])["SecretString"] == "long"
    sm.delete_secret(SecretId="db", ForceDeleteWithoutRecovery=True)
    assert sm.get_secret_value(SecretId=short["ARN"])["SecretString"] == "long"


def test_values_come_back_byte_for_byte(sm):
    texts = ["x", "ü\u0001\"\\\n\u2028😀", "y" * 65536, json.dumps({"user": "u", "pw": "p"})]
    for n, text in enumerate(texts):
        sm.create_secret(Name=f"text-{n}", SecretString=text)
        assert sm.get_secret_value(SecretId=f"text-{n}")["SecretString"] == text
    for n, data in enumerate([b"\0", os.urandom(65536)]):
        sm.create_secret(Name=f"bytes-{n}", SecretBinary=data)
        found = sm.get_secret_value(SecretId=f"bytes-{n}")
        assert found["SecretBinary"] == data and "SecretString" not in found


def test_a_secret_without_a_value(sm):
    made = sm.create_secret(Name="empty")
    assert "VersionId" not in made
    assert "VersionIdsToStages" not in sm.describe_secret(SecretId="empty")
    assert refused(sm.get_secret_value, SecretId="empty") == (
        "ResourceNotFoundException",
        "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT")
    put = sm.put_secret_value(SecretId="empty", SecretString="x", VersionStages=["MINE"])
    assert sorted(put["VersionStages"]) == ["AWSCURRENT", "MINE"]   # the first one is current


def test_creating_again_with_the_same_token_is_the_same_request(sm):
    same = token()
    made = sm.create_secret(Name="once", SecretString="x", ClientRequestToken=same)
    again = sm.create_secret(Name="once", SecretString="x", ClientRequestToken=same)
    assert made["VersionId"] == same
    assert [made[k] for k in ("ARN", "Name", "VersionId")] == [
        again[k] for k in ("ARN", "Name", "VersionId")]
    for members in ({"SecretString": "x"}, {"SecretString": "y", "ClientRequestToken": same},
                    {"ClientRequestToken": same}):
        assert refused(sm.create_secret, Name="once", **members) == (
            "ResourceExistsException", "The operation failed because the secret once already exists.")
    bare = token()
    sm.create_secret(Name="bare", ClientRequestToken=bare)
    sm.create_secret(Name="bare", ClientRequestToken=bare)
    assert refused(sm.create_secret, Name="bare")[0] == "ResourceExistsException"


# ---- versions ----

def test_a_new_version_is_current_and_the_former_one_previous(sm):
    first = sm.create_secret(Name="v", SecretString="1")["VersionId"]
    put = sm.put_secret_value(SecretId="v", SecretString="2")
    second = put["VersionId"]
    assert put["VersionStages"] == ["AWSCURRENT"]
    assert stages(sm, "v") == {first: ["AWSPREVIOUS"], second: ["AWSCURRENT"]}
    third = sm.update_secret(SecretId="v", SecretString="3")["VersionId"]
    assert stages(sm, "v") == {second: ["AWSPREVIOUS"], third: ["AWSCURRENT"]}
    values = {stage: sm.get_secret_value(SecretId="v", VersionStage=stage)["SecretString"]
              for stage in ("AWSCURRENT", "AWSPREVIOUS")}
    assert values == {"AWSCURRENT": "3", "AWSPREVIOUS": "2"}
    old = sm.get_secret_value(SecretId="v", VersionId=first)   # deprecated, and still there
    assert old["SecretString"] == "1" and "VersionStages" not in old
    assert sm.get_secret_value(SecretId="v", VersionId=third,
                               VersionStage="AWSCURRENT")["SecretString"] == "3"
    assert refused(sm.get_secret_value, SecretId="v", VersionId=second,
                   VersionStage="AWSCURRENT")[0] == "InvalidRequestException"
    unknown = token()
    assert refused(sm.get_secret_value, SecretId="v", VersionId=unknown) == (
        "ResourceNotFoundException",
        f"Secrets Manager can't find the specified secret value for VersionId: {unknown}")
    assert refused(sm.get_secret_value, SecretId="v", VersionStage="MINE") == (
        "ResourceNotFoundException",
        "Secrets Manager can't find the specified secret value for staging label: MINE")


def test_putting_again_with_the_same_token_changes_nothing(sm):
    arn = sm.create_secret(Name="p", SecretString="0")["ARN"]
    same = token()
    for call in (sm.put_secret_value, sm.update_secret, sm.put_secret_value):
        assert call(SecretId="p", SecretString="1", ClientRequestToken=same)["VersionId"] == same
    assert len(stages(sm, "p")) == 2
    for call in (sm.put_secret_value, sm.update_secret):
        for value in ({"SecretString": "2"}, {"SecretBinary": b"1"}):
            assert refused(call, SecretId="p", ClientRequestToken=same, **value) == (
                "ResourceExistsException",
                f"You can't use ClientRequestToken {same} because that value is already in use for "
                f"a version of secret {arn}.")
    # Also when another one is current by now.
    sm.put_secret_value(SecretId="p", SecretString="3")
    sm.put_secret_value(SecretId="p", SecretString="1", ClientRequestToken=same)
    assert sm.get_secret_value(SecretId="p")["SecretString"] == "3"


def test_labels_of_one_s_own_move(sm):
    first = sm.create_secret(Name="l", SecretString="1")["VersionId"]
    put = sm.put_secret_value(SecretId="l", SecretString="2", VersionStages=["AWSPENDING", "X"])
    second = put["VersionId"]
    assert stages(sm, "l") == {first: ["AWSCURRENT"], second: ["AWSPENDING", "X"]}
    third = sm.put_secret_value(SecretId="l", SecretString="3",
                                VersionStages=["X", "AWSCURRENT"])["VersionId"]
    assert stages(sm, "l") == {first: ["AWSPREVIOUS"], second: ["AWSPENDING"],
                               third: ["AWSCURRENT", "X"]}
    # What a rotation ends with.
    sm.update_secret_version_stage(SecretId="l", VersionStage="AWSCURRENT", MoveToVersionId=second,
                                   RemoveFromVersionId=third)
    assert stages(sm, "l") == {second: ["AWSCURRENT", "AWSPENDING"], third: ["AWSPREVIOUS", "X"]}
    sm.update_secret_version_stage(SecretId="l", VersionStage="AWSPENDING",
                                   RemoveFromVersionId=second)
    sm.update_secret_version_stage(SecretId="l", VersionStage="NEW", MoveToVersionId=first)
    assert stages(sm, "l") == {first: ["NEW"], second: ["AWSCURRENT"], third: ["AWSPREVIOUS", "X"]}


def test_labels_that_may_not_move(sm):
    first = sm.create_secret(Name="l", SecretString="1")["VersionId"]
    second = sm.put_secret_value(SecretId="l", SecretString="2")["VersionId"]
    move = {"SecretId": "l", "VersionStage": "AWSCURRENT"}
    before = stages(sm, "l")
    assert refused(sm.update_secret_version_stage, MoveToVersionId=first, **move) == (
        "InvalidParameterException",
        "The parameter RemoveFromVersionId can't be empty. Staging label AWSCURRENT is currently "
        f"attached to version {second}, so you must explicitly reference that version in "
        "RemoveFromVersionId.")
    assert refused(sm.update_secret_version_stage, RemoveFromVersionId=second, **move) == (
        "InvalidParameterException",
        "You can only move staging label AWSCURRENT to a different secret version. It can’t be "
        "completely removed.")
    for members, code in (({}, "InvalidParameterException"),
                          ({"MoveToVersionId": token()}, "ResourceNotFoundException"),
                          ({"RemoveFromVersionId": first, "MoveToVersionId": second},
                           "InvalidParameterException"),
                          ({"RemoveFromVersionId": token(), "MoveToVersionId": first},
                           "ResourceNotFoundException")):
        assert refused(sm.update_secret_version_stage, **move, **members)[0] == code, members
    assert stages(sm, "l") == before
    # To where it is already, nothing happens.
    sm.update_secret_version_stage(MoveToVersionId=second, **move)
    assert stages(sm, "l") == before


def test_versions_are_listed_and_have_an_end(sm):
    sm.create_secret(Name="many", SecretString="0", KmsKeyId="alias/mine")
    keep = sm.put_secret_value(SecretId="many", SecretString="keep",
                               VersionStages=["KEEP"])["VersionId"]
    for n in range(1, 103):
        sm.put_secret_value(SecretId="many", SecretString=str(n))
    shown = sm.list_secret_version_ids(SecretId="many")
    assert [sorted(v["VersionStages"]) for v in shown["Versions"]] == [
        ["AWSCURRENT"], ["AWSPREVIOUS"], ["KEEP"]]
    assert shown["Versions"][0]["KmsKeyIds"] == ["alias/mine"]
    ids, more = [], {}
    while more is not None:
        page = sm.list_secret_version_ids(SecretId="many", IncludeDeprecated=True, MaxResults=7,
                                          **more)
        ids += [version["VersionId"] for version in page["Versions"]]
        more = {"NextToken": page["NextToken"]} if "NextToken" in page else None
    assert len(ids) == len(set(ids)) == 100 and ids[-1] == keep
    assert sm.get_secret_value(SecretId="many", VersionId=keep)["SecretString"] == "keep"
    assert refused(sm.list_secret_version_ids, SecretId="many", NextToken="x")[0] == \
        "InvalidNextTokenException"
    # Twenty labels are allowed, and two are on others already.
    labels = [f"L{n}" for n in range(18)]
    assert refused(sm.put_secret_value, SecretId="many", SecretString="x",
                   VersionStages=labels)[0] == "LimitExceededException"
    sm.put_secret_value(SecretId="many", SecretString="x", VersionStages=labels[:17])


def test_what_is_updated_without_a_value(sm):
    made = sm.create_secret(Name="u", SecretString="x", Description="old")
    changed = sm.describe_secret(SecretId="u")["LastChangedDate"]
    answer = sm.update_secret(SecretId="u", Description="new", KmsKeyId="alias/other")
    assert answer["ARN"] == made["ARN"] and "VersionId" not in answer
    shown = sm.describe_secret(SecretId="u")
    assert (shown["Description"], shown["KmsKeyId"]) == ("new", "alias/other")
    assert shown["LastChangedDate"] > changed and list(shown["VersionIdsToStages"]) == [
        made["VersionId"]]
    sm.update_secret(SecretId="u", Description="", KmsKeyId="alias/aws/secretsmanager")
    assert not {"Description", "KmsKeyId"} & set(sm.describe_secret(SecretId="u"))


# ---- deleting ----

def test_a_deleted_secret_can_be_restored(sm):
    made = sm.create_secret(Name="d", SecretString="x")
    for members, days in (({}, 30), ({"RecoveryWindowInDays": 7}, 7)):
        before = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
        answer = sm.delete_secret(SecretId="d", **members)
        left = answer["DeletionDate"] - before
        assert datetime.timedelta(days=days) <= left < datetime.timedelta(days=days, minutes=1)
        assert sm.describe_secret(SecretId="d")["DeletedDate"] == answer["DeletionDate"]
        for call, more in ((sm.get_secret_value, {}), (sm.put_secret_value, {"SecretString": "y"}),
                           (sm.update_secret, {"Description": "y"}), (sm.delete_secret, {}),
                           (sm.get_resource_policy, {}), (sm.tag_resource, {"Tags": []}),
                           (sm.untag_resource, {"TagKeys": []}), (sm.delete_resource_policy, {}),
                           (sm.update_secret_version_stage, {"VersionStage": "X"})):
            assert refused(call, SecretId="d", **more) == ("InvalidRequestException", MARKED)
        assert refused(sm.create_secret, Name="d") == (
            "InvalidRequestException", "You can't create this secret because a secret with this name "
            "is already scheduled for deletion.")
        assert names(sm) == [] and names(sm, IncludePlannedDeletion=True) == ["d"]
        assert sm.list_secret_version_ids(SecretId="d")["Versions"]
        assert sm.restore_secret(SecretId="d")["ARN"] == made["ARN"]
        assert sm.get_secret_value(SecretId="d")["SecretString"] == "x"
        assert "DeletedDate" not in sm.describe_secret(SecretId="d")
    sm.restore_secret(SecretId="d")     # one that was not deleted stays


def test_a_secret_is_erased_at_once_where_that_is_wanted(sm):
    made = sm.create_secret(Name="d", SecretString="x")
    sm.delete_secret(SecretId="d")
    sm.delete_secret(SecretId="d", ForceDeleteWithoutRecovery=True)
    for call in (sm.describe_secret, sm.restore_secret, sm.delete_secret, sm.get_secret_value):
        assert refused(call, SecretId="d") == ("ResourceNotFoundException", GONE)
    again = sm.create_secret(Name="d", SecretString="y")
    assert again["ARN"] != made["ARN"]
    assert refused(sm.get_secret_value, SecretId=made["ARN"])[0] == "ResourceNotFoundException"
    assert refused(sm.get_secret_value, SecretId="d", VersionId=made["VersionId"])[0] == \
        "ResourceNotFoundException"
    missing = sm.delete_secret(SecretId="never-was", ForceDeleteWithoutRecovery=True)
    assert missing["Name"] == "never-was" and missing["ARN"] == PREFIX + "never-was"


def test_recovery_windows_that_cannot_be(sm):
    sm.create_secret(Name="d", SecretString="x")
    for days in (-1, 0, 6, 31):
        assert refused(sm.delete_secret, SecretId="d", RecoveryWindowInDays=days)[0] == \
            "InvalidParameterException"
    assert refused(sm.delete_secret, SecretId="d", RecoveryWindowInDays=7,
                   ForceDeleteWithoutRecovery=True) == (
        "InvalidParameterException", "You can't use ForceDeleteWithoutRecovery in conjunction with "
        "RecoveryWindowInDays.")
    assert names(sm) == ["d"]


# ---- lists ----

def made_some(sm):
    sm.create_secret(Name="prod/db", SecretString="1", Description="The database's password",
                     Tags=[{"Key": "team", "Value": "Blue"}])
    sm.create_secret(Name="prod/api", SecretString="2", Description="Key of an API",
                     Tags=[{"Key": "Team", "Value": "red"}])
    sm.create_secret(Name="test/db", SecretString="3", Tags=[{"Key": "team", "Value": "red"}])


@pytest.mark.parametrize("key, values, found", [
    ("name", ["prod"], "prod/api prod/db"), ("name", ["Prod"], ""), ("name", ["db"], ""),
    ("name", ["!prod"], "test/db"), ("name", ["prod/d", "test"], "prod/db test/db"),
    ("tag-key", ["team"], "prod/db test/db"), ("tag-key", ["te", "Te"], "prod/api prod/db test/db"),
    ("tag-value", ["Bl"], "prod/db"), ("tag-value", ["!red"], "prod/db"),
    ("description", ["the DATA"], "prod/db"), ("description", ["key api"], "prod/api"),
    ("description", ["!the"], "prod/api test/db"),
    ("primary-region", ["us-"], "prod/api prod/db test/db"), ("owning-service", ["rds"], ""),
    ("all", ["DB red"], "test/db"), ("all", ["blue pass"], "prod/db"), ("all", ["nothing"], ""),
    ("all", ["!red"], "prod/db"),
])
def test_filters(sm, key, values, found):
    made_some(sm)
    filters = [{"Key": key, "Values": values}]
    assert sorted(names(sm, Filters=filters)) == found.split()
    batch = sm.batch_get_secret_value(Filters=filters)
    assert sorted(value["Name"] for value in batch["SecretValues"]) == found.split()


def test_all_filters_count_together(sm):
    made_some(sm)
    assert names(sm, Filters=[{"Key": "name", "Values": ["prod"]},
                              {"Key": "tag-value", "Values": ["red"]}]) == ["prod/api"]
    for wrong in ([{"Key": "name"}], [{"Values": ["x"]}]):
        assert refused(sm.list_secrets, Filters=wrong)[0] == "InvalidParameterException"


def test_orders_and_pages(sm):
    for name in ("b", "c", "a"):
        sm.create_secret(Name=name, SecretString=name)
    sm.update_secret(SecretId="c", Description="changed last")
    assert names(sm) == ["a", "c", "b"]     # the youngest first
    assert names(sm, SortOrder="asc") == ["b", "c", "a"]
    for by, order, found in (("name", "asc", "abc"), ("name", "desc", "cba"),
                             ("created-date", "asc", "bca"), ("last-changed-date", "desc", "cab"),
                             ("last-accessed-date", "asc", "abc")):
        assert "".join(names(sm, SortBy=by, SortOrder=order)) == found
        assert "".join(names(sm, SortBy=by, SortOrder=order,
                             PaginationConfig={"PageSize": 1})) == found
    page = sm.list_secrets(MaxResults=1, SortBy="name", SortOrder="asc")
    sm.delete_secret(SecretId="a", ForceDeleteWithoutRecovery=True)
    sm.create_secret(Name="aa", SecretString="x")
    rest = sm.list_secrets(SortBy="name", SortOrder="asc", NextToken=page["NextToken"])
    assert [secret["Name"] for secret in rest["SecretList"]] == ["aa", "b", "c"]
    for wrong in ("x", base64.b64encode(b"no place").decode(), base64.b64encode(b"1 ").decode()):
        assert refused(sm.list_secrets, NextToken=wrong)[0] == "InvalidNextTokenException"


def test_many_values_at_once(sm):
    made = [sm.create_secret(Name=f"s{n}", SecretString=str(n)) for n in range(3)]
    sm.create_secret(Name="valueless")
    sm.delete_secret(SecretId="s2")
    answer = sm.batch_get_secret_value(SecretIdList=["s1", made[0]["ARN"], "s2", "valueless", "no"])
    assert [value["SecretString"] for value in answer["SecretValues"]] == ["1", "0"]
    assert [(e["SecretId"], e["ErrorCode"]) for e in answer["Errors"]] == [
        ("s2", "InvalidRequestException"), ("valueless", "ResourceNotFoundException"),
        ("no", "ResourceNotFoundException")]
    assert answer["Errors"][0]["Message"] == MARKED
    filters = [{"Key": "name", "Values": ["s"]}]
    first = sm.batch_get_secret_value(Filters=filters, MaxResults=1)
    second = sm.batch_get_secret_value(Filters=filters, MaxResults=1, NextToken=first["NextToken"])
    assert [p["SecretValues"][0]["Name"] for p in (first, second)] == ["s1", "s0"]
    assert "NextToken" not in second
    for wrong in ({}, {"SecretIdList": ["s1"], "Filters": filters},
                  {"SecretIdList": ["s1"], "MaxResults": 1}):
        assert refused(sm.batch_get_secret_value, **wrong)[0] == "InvalidParameterException"
    assert refused(sm.batch_get_secret_value, Filters=filters, NextToken="x")[0] == \
        "InvalidNextTokenException"


# ---- tags, policies, passwords ----

def test_tags(sm):
    sm.create_secret(Name="t", Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    sm.tag_resource(SecretId="t", Tags=[{"Key": "b", "Value": "3"}, {"Key": "c", "Value": ""}])
    sm.untag_resource(SecretId="t", TagKeys=["a", "nobody"])
    assert sm.describe_secret(SecretId="t")["Tags"] == [
        {"Key": "b", "Value": "3"}, {"Key": "c", "Value": ""}]
    sm.untag_resource(SecretId="t", TagKeys=["b", "c"])
    assert "Tags" not in sm.describe_secret(SecretId="t")
    many = [{"Key": f"k{n}", "Value": ""} for n in range(51)]
    for wrong in (many, [{"Key": "aws:x", "Value": ""}], [{"Value": "x"}]):
        assert refused(sm.tag_resource, SecretId="t", Tags=wrong)[0] == "InvalidParameterException"
        assert refused(sm.create_secret, Name="n", Tags=wrong)[0] == "InvalidParameterException"
    sm.tag_resource(SecretId="t", Tags=many[:50])
    assert names(sm) == ["t"]


def test_there_is_no_policy(sm):
    arn = sm.create_secret(Name="p")["ARN"]
    for call in (sm.get_resource_policy, sm.delete_resource_policy):
        answer = call(SecretId="p")
        assert answer["ARN"] == arn and "ResourcePolicy" not in answer
        assert refused(call, SecretId="no")[0] == "ResourceNotFoundException"


def test_what_is_not_served_says_so(vaulted, sm):
    sm.create_secret(Name="p", SecretString="x")
    model = sm.meta.service_model
    for name in NOT_SERVED:
        status, answer = vaulted.call(name, smallest(model.operation_model(name).input_shape),
                                      service="secretsmanager")
        assert (status, answer["__type"]) == (400, "InvalidRequestException")
        assert answer["message"] == f"{name} is not implemented yet."
    for call, members, member in (
            (sm.create_secret, {"Name": "r", "AddReplicaRegions": [{"Region": "eu-west-1"}]},
             "AddReplicaRegions"),
            (sm.put_secret_value, {"SecretId": "p", "SecretString": "y", "RotationToken": token()},
             "RotationToken")):
        code, text = refused(call, **members)
        assert code == "InvalidRequestException" and text.startswith(f"{member} is not implemented")
    for operation, members in (("CreateSecret", {"Name": "r"}), ("UpdateSecret", {"SecretId": "p"})):
        _, answer = vaulted.call(operation, {**members, "Type": "x"}, service="secretsmanager")
        assert answer["message"].startswith("Type is not implemented yet")
    # Nothing is there to be overwritten.
    sm.create_secret(Name="r", ForceOverwriteReplicaSecret=True)


def password(sm, **members):
    return sm.get_random_password(**members)["RandomPassword"]


def test_passwords(sm):
    assert len(password(sm)) == 32 and password(sm) != password(sm)
    for _ in range(20):
        short = password(sm, PasswordLength=4)
        kinds = (string.ascii_lowercase, string.ascii_uppercase, string.digits, string.punctuation)
        assert all(set(short) & set(kind) for kind in kinds), short
    only = password(sm, PasswordLength=4096, ExcludePunctuation=True, ExcludeUppercase=True,
                    ExcludeNumbers=True, ExcludeCharacters="abc", IncludeSpace=True)
    assert set(only) == (set(string.ascii_lowercase) - set("abc")) | {" "} and len(only) == 4096
    assert len(password(sm, PasswordLength=1, RequireEachIncludedType=False)) == 1
    assert refused(sm.get_random_password, PasswordLength=3)[0] == "InvalidParameterException"
    assert refused(sm.get_random_password, ExcludeNumbers=True, ExcludeLowercase=True,
                   ExcludeUppercase=True,
                   ExcludeCharacters=string.punctuation)[0] == "InvalidParameterException"


# ---- refusals ----

def test_values_that_are_refused(vaulted, sm):
    sm.create_secret(Name="x", SecretString="x")
    both = {"SecretString": "a", "SecretBinary": "YQ=="}
    for operation, members, code in (
            ("CreateSecret", {"Name": "n", **both}, "InvalidParameterException"),
            ("UpdateSecret", {"SecretId": "x", **both}, "InvalidParameterException"),
            ("PutSecretValue", {"SecretId": "x", **both}, "InvalidParameterException"),
            ("PutSecretValue", {"SecretId": "x"}, "InvalidRequestException"),
            ("PutSecretValue", {"SecretId": "x", "SecretString": ""}, "ValidationException"),
            ("PutSecretValue", {"SecretId": "x", "SecretBinary": ""}, "ValidationException"),
            ("PutSecretValue", {"SecretId": "x", "SecretBinary": "%"}, "SerializationException"),
            ("PutSecretValue", {"SecretId": "x", "SecretString": "hidden" * 11000},
             "ValidationException"),
            ("PutSecretValue", {"SecretId": "x", "SecretString": "ü" * 40000},
             "ValidationException"),
            ("PutSecretValue", {"SecretId": "x",
                                "SecretBinary": base64.b64encode(b"x" * 65537).decode()},
             "ValidationException"),
            ("PutSecretValue", {"SecretId": "x", "SecretString": ["hidden"]},
             "SerializationException"),
            ("PutSecretValue", {"SecretId": "x", "SecretString": "a", "ClientRequestToken": "short"},
             "ValidationException"),
            ("CreateSecret", {"Name": "a b"}, "ValidationException"),
            ("CreateSecret", {"Name": "a\nb"}, "ValidationException"),
            ("CreateSecret", {"Name": "ü"}, "ValidationException"),
            ("CreateSecret", {}, "ValidationException"),
            ("DescribeSecret", {}, "ValidationException")):
        status, answer = vaulted.call(operation, members, service="secretsmanager")
        assert (status, answer["__type"]) == (400, code), (operation, members, answer)
        assert "hidden" not in answer["message"]
    assert names(sm) == ["x"] and len(stages(sm, "x")) == 1


def test_agents_read_nothing(vaulted, sm):
    sm.create_secret(Name="x", SecretString="x")
    for name in sorted(set(sm.meta.service_model.operation_names) - NEWER):
        shape = sm.meta.service_model.operation_model(name).input_shape
        status, answer = vaulted.call(name, {**smallest(shape), "SecretId": "x"},
                                      service="secretsmanager", key=vaulted.key("agent"))
        assert (status, answer["__type"]) == (400, "AccessDeniedException"), name


def test_a_task_s_role_may_everything(cluster):
    task = cluster.start(cluster.register(
        idle(name="c"), taskRoleArn="arn:aws:iam::000000000000:role/reader"))
    shown = cluster.wait(task, "RUNNING")
    container = Container(cluster, shown["containers"][0])
    sm = client(cluster, container.get(address(container)), "secretsmanager")
    sm.create_secret(Name="by-a-task", SecretString="x")
    assert sm.get_secret_value(SecretId="by-a-task")["SecretString"] == "x"
    sm.delete_secret(SecretId="by-a-task", ForceDeleteWithoutRecovery=True)


# ---- durability ----

def grep(text, *paths):
    found = subprocess.run(["grep", "-rlaF", text, *map(str, paths)], capture_output=True, text=True,
                           timeout=60)
    return found.stdout.split()


def test_what_was_answered_outlives_a_kill_and_cannot_be_read_in_the_files(vaulted, sm):
    value, second, told = (f"{word}-{uuid.uuid4().hex}" for word in ("value", "second", "told"))
    made = sm.create_secret(Name="kept", SecretString=value, Description=told,
                            Tags=[{"Key": told, "Value": told}])
    sm.put_secret_value(SecretId="kept", SecretBinary=second.encode())
    sm.create_secret(Name="erased", SecretString=value)
    sm.delete_secret(SecretId="erased", ForceDeleteWithoutRecovery=True)
    deleted = sm.create_secret(Name="deleted", SecretString=value)
    sm.delete_secret(SecretId="deleted", RecoveryWindowInDays=7)
    vaulted.kill("server")
    for text in (value, second, told, base64.b64encode(second.encode()).decode()):
        assert grep(text, vaulted.data_dir) == []
    assert [os.path.basename(path) for path in grep("v/secret/kept", vaulted.data_dir)]
    key = pathlib.Path(vaulted.data_dir, "keys", "vault.key")
    assert key.stat().st_mode & 0o777 == 0o600
    vaulted.up()
    sm = vaulted.secretsmanager
    assert sm.get_secret_value(SecretId="kept")["SecretBinary"] == second.encode()
    assert sm.get_secret_value(SecretId=made["ARN"],
                               VersionStage="AWSPREVIOUS")["SecretString"] == value
    assert sm.describe_secret(SecretId="kept")["Tags"] == [{"Key": told, "Value": told}]
    assert names(sm) == ["kept"] and refused(sm.describe_secret, SecretId="erased")[1] == GONE
    sm.restore_secret(SecretId=deleted["ARN"])
    assert sm.get_secret_value(SecretId="deleted")["SecretString"] == value
    for line in pathlib.Path(vaulted.data_dir, "log", "server.log").read_text().splitlines():
        assert value not in line and second not in line


class Writer(threading.Thread):
    """Puts one value after the other, and knows which ones were acknowledged."""

    def __init__(self, vaulted, name):
        super().__init__()
        self.vaulted, self.name_of_it, self.acknowledged = vaulted, name, 0
        self.ends = threading.Event()

    def run(self):
        number = 0
        while not self.ends.is_set():
            number += 1
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                members = {"SecretId": self.name_of_it, "SecretString": str(number)}
                status, _ = self.vaulted.call("PutSecretValue", members, service="secretsmanager")
                if status == 200:
                    self.acknowledged = number


def test_whatever_was_acknowledged_is_there_however_often_the_server_is_killed(vaulted, sm):
    for n in range(4):
        sm.create_secret(Name=f"w{n}", SecretString="0")
    for _ in range(3):
        writers = [Writer(vaulted, f"w{n}") for n in range(4)]
        for writer in writers:
            writer.start()
        clusters.until(lambda: all(w.acknowledged > 20 for w in writers), what="some values")
        vaulted.kill("server")
        for writer in writers:
            writer.ends.set()
            writer.join()
        vaulted.up()
        for writer in writers:
            found = vaulted.secretsmanager.get_secret_value(SecretId=writer.name_of_it)
            # The one that was under way may have come in time, or not.
            assert int(found["SecretString"]) - writer.acknowledged in (0, 1)
            versions = vaulted.secretsmanager.list_secret_version_ids(
                SecretId=writer.name_of_it, IncludeDeprecated=True)["Versions"]
            labels = [label for v in versions for label in v.get("VersionStages", [])]
            assert sorted(labels) == ["AWSCURRENT", "AWSPREVIOUS"]
            for version in versions:    # each has its value
                vaulted.secretsmanager.get_secret_value(SecretId=writer.name_of_it,
                                                        VersionId=version["VersionId"])


def test_a_backup_has_them_with_their_key_and_nothing_opens_them_without(vaulted, sm, tmp_path):
    value = f"value-{uuid.uuid4().hex}"
    sm.create_secret(Name="backed-up", SecretString=value)
    file = tmp_path / "backup.tar"
    vaulted.fairlead("backup", str(file))
    assert grep(value, file) == []
    assert run(FAIRLEAD, "store", "check", str(file), check=False).returncode == 0
    other = clusters.Cluster()
    try:
        other.fairlead("restore", str(file))
        other.up()
        assert other.secretsmanager.get_secret_value(SecretId="backed-up")["SecretString"] == value
        other.fairlead("down")
        key = pathlib.Path(other.data_dir, "keys", "vault.key")
        key.rename(tmp_path / "vault.key")
        said = other.fairlead("store", "check", check=False)
        assert said.returncode == 1 and "keys/vault.key is missing" in said.stderr, said.stderr
        assert other.fairlead("up", check=False).returncode != 0
        assert not key.exists()     # a new one would be of no use
        shutil.copy(tmp_path / "vault.key", key)
        other.up()
        assert other.secretsmanager.get_secret_value(SecretId="backed-up")["SecretString"] == value
    finally:
        other.uninstall()
    assert not other.leaks()


# ---- the AWS CLI, and the model ----

def test_the_cli(vaulted, sm, tmp_path):
    path = tmp_path / "secret.bin"
    path.write_bytes(b"\0\1\2")
    made = vaulted.aws_json("secretsmanager", "create-secret", "--name", "cli", "--secret-binary",
                            f"fileb://{path}", "--tags", "Key=a,Value=b")
    got = vaulted.aws_json("secretsmanager", "get-secret-value", "--secret-id", made["ARN"])
    assert base64.b64decode(got["SecretBinary"]) == b"\0\1\2"
    vaulted.aws("secretsmanager", "put-secret-value", "--secret-id", "cli", "--secret-string", "s")
    shown = vaulted.aws_json("secretsmanager", "list-secrets", "--filters", "Key=name,Values=cli")
    assert shown["SecretList"][0]["Tags"] == [{"Key": "a", "Value": "b"}]
    text = vaulted.aws("secretsmanager", "get-secret-value", "--secret-id", "cli", "--query",
                       "SecretString", "--output", "text").stdout
    assert text == "s\n"
    vaulted.aws("secretsmanager", "delete-secret", "--secret-id", "cli",
                "--force-delete-without-recovery")
    said = vaulted.aws("secretsmanager", "describe-secret", "--secret-id", "cli", check=False)
    assert "(ResourceNotFoundException)" in said.stderr and GONE in said.stderr


def test_every_answer_is_as_the_model_says(vaulted, sm):
    answered = set()

    def ask(operation, **members):
        answered.add(operation)
        return checked(vaulted, operation, members, service="secretsmanager")

    first = ask("CreateSecret", Name="m", SecretString="x", Description="d", KmsKeyId="alias/k",
                Tags=[{"Key": "k", "Value": "v"}], ClientRequestToken=token())["VersionId"]
    put = ask("PutSecretValue", SecretId="m", SecretBinary="AAE=", ClientRequestToken=token(),
              VersionStages=["MINE"])
    ask("UpdateSecret", SecretId="m", SecretString="y", ClientRequestToken=token())
    ask("UpdateSecretVersionStage", SecretId="m", VersionStage="MINE", MoveToVersionId=first,
        RemoveFromVersionId=put["VersionId"])
    ask("GetSecretValue", SecretId="m")
    ask("GetSecretValue", SecretId="m", VersionId=put["VersionId"])
    ask("BatchGetSecretValue", SecretIdList=["m", "missing"])
    ask("BatchGetSecretValue", Filters=[{"Key": "name", "Values": ["m"]}], MaxResults=1)
    ask("TagResource", SecretId="m", Tags=[{"Key": "a", "Value": "b"}])
    ask("UntagResource", SecretId="m", TagKeys=["a"])
    ask("GetResourcePolicy", SecretId="m")
    ask("DeleteResourcePolicy", SecretId="m")
    ask("GetRandomPassword")
    ask("DeleteSecret", SecretId="m", RecoveryWindowInDays=7)
    ask("DescribeSecret", SecretId="m")
    ask("ListSecretVersionIds", SecretId="m", IncludeDeprecated=True, MaxResults=1)
    ask("ListSecrets", IncludePlannedDeletion=True, SortBy="name", SortOrder="desc", MaxResults=1)
    ask("RestoreSecret", SecretId="m")
    assert answered == set(sm.meta.service_model.operation_names) - NOT_SERVED - NEWER


# What every operation on a secret refuses.
BY_ID = {"DeleteResourcePolicy", "DeleteSecret", "DescribeSecret", "GetResourcePolicy",
         "GetSecretValue", "ListSecretVersionIds", "PutSecretValue", "RestoreSecret", "TagResource",
         "UntagResource", "UpdateSecret", "UpdateSecretVersionStage"}
TAKES_DELETED = {"DescribeSecret", "RestoreSecret", "ListSecretVersionIds"}
# Documented for all sorts of operations; where it can be had, and where it cannot.
NOT_HERE = {
    ("CreateSecret", "ResourceNotFoundException"): "there are no keys to be missing",
    ("BatchGetSecretValue", "ResourceNotFoundException"): "it is an error of the batch's",
    ("BatchGetSecretValue", "InvalidRequestException"): "it is an error of the batch's",
    ("GetRandomPassword", "InvalidRequestException"): "any request can be made at any time",
    ("ListSecrets", "InvalidRequestException"): "any request can be made at any time",
    ("RestoreSecret", "InvalidRequestException"): "any secret can be asked for",
    ("UpdateSecret", "LimitExceededException"): "a version's label frees one",
    ("CreateSecret", "LimitExceededException"): "the vault's own test fills it",
}
# They are refused by the shapes alone, in words of a ValidationException.
ONLY_SHAPES = {"DeleteResourcePolicy", "DescribeSecret", "GetResourcePolicy", "GetSecretValue",
               "ListSecretVersionIds", "RestoreSecret", "UntagResource"}


def test_every_documented_error_is_brought_about(vaulted, sm):
    sm.create_secret(Name="here", SecretString="x", ClientRequestToken="t" * 32)
    sm.create_secret(Name="deleted", SecretString="x")
    sm.delete_secret(SecretId="deleted")
    both = {"SecretString": "a", "SecretBinary": "YQ=="}
    taken = {"SecretId": "here", "SecretString": "other", "ClientRequestToken": "t" * 32}
    rows = [("BatchGetSecretValue", {}, "InvalidParameterException"),
            ("BatchGetSecretValue", {"Filters": [{"Key": "name", "Values": ["x"]}],
                                     "NextToken": "x"}, "InvalidNextTokenException"),
            ("CreateSecret", {"Name": "here"}, "ResourceExistsException"),
            ("CreateSecret", {"Name": "deleted"}, "InvalidRequestException"),
            ("CreateSecret", {"Name": "n", **both}, "InvalidParameterException"),
            ("UpdateSecret", {"SecretId": "here", **both}, "InvalidParameterException"),
            ("PutSecretValue", {"SecretId": "here", **both}, "InvalidParameterException"),
            ("UpdateSecret", taken, "ResourceExistsException"),
            ("PutSecretValue", taken, "ResourceExistsException"),
            ("PutSecretValue", {"SecretId": "here", "SecretString": "x",
                                "VersionStages": [f"L{n}" for n in range(20)]},
             "LimitExceededException"),
            ("DeleteSecret", {"SecretId": "here", "RecoveryWindowInDays": 1},
             "InvalidParameterException"),
            ("GetRandomPassword", {"PasswordLength": 1}, "InvalidParameterException"),
            ("ListSecretVersionIds", {"SecretId": "here", "NextToken": "x"},
             "InvalidNextTokenException"),
            ("ListSecrets", {"NextToken": "x"}, "InvalidNextTokenException"),
            ("ListSecrets", {"Filters": [{"Key": "name"}]}, "InvalidParameterException"),
            ("TagResource", {"SecretId": "here", "Tags": [{"Key": "aws:x"}]},
             "InvalidParameterException"),
            ("UpdateSecretVersionStage", {"SecretId": "here", "VersionStage": "x"},
             "InvalidParameterException")]
    model = sm.meta.service_model
    for name in sorted(BY_ID):
        members = smallest(model.operation_model(name).input_shape)
        members |= {"SecretString": "x"} if name == "PutSecretValue" else {}
        rows.append((name, {**members, "SecretId": "no"}, "ResourceNotFoundException"))
        if name not in TAKES_DELETED:
            rows.append((name, {**members, "SecretId": "deleted"}, "InvalidRequestException"))
    provoked = set()
    for operation, members, code in rows:
        status, answer = vaulted.call(operation, members, service="secretsmanager")
        assert (status, answer.get("__type")) == (400, code), (operation, members, answer)
        assert answer["message"], operation
        provoked.add((operation, code))
    # As one request makes as many labels as there may be, one that moves a label can make one more.
    labels = [f"L{n}" for n in range(19)]
    second = sm.put_secret_value(SecretId="here", SecretString="y", VersionStages=labels)
    assert refused(sm.update_secret_version_stage, SecretId="here", VersionStage="more",
                   MoveToVersionId=second["VersionId"])[0] == "LimitExceededException"
    provoked.add(("UpdateSecretVersionStage", "LimitExceededException"))
    documented = {(name, error.name) for name in model.operation_names if name not in NOT_SERVED | NEWER
                  for error in model.operation_model(name).error_shapes}
    left = {(name, error) for name, error in documented - provoked
            if error not in UNPROVOKED and (name, error) not in NOT_HERE
            and not (error == "InvalidParameterException" and name in ONLY_SHAPES)}
    assert not left, sorted(left)


def test_errors_are_the_client_s_own_exceptions(sm):
    with pytest.raises(sm.exceptions.ResourceNotFoundException):
        sm.get_secret_value(SecretId="no")
    with pytest.raises(botocore.exceptions.ClientError):
        sm.rotate_secret(SecretId="no")
