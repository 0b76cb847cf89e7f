"""The Parameter Store: names, versions, labels, paths, filters, tiers, patterns, tags, who may read;
every answer held against botocore's model, with its client, the AWS CLI and raw requests. What was
answered is there after a kill, and a SecureString is shown in the clear only to who asks for it."""
import base64
import contextlib
import json
import sqlite3
import subprocess
import uuid

import cluster as clusters
import pytest
from cluster import idle
from test_credentials import Container, address, agent, client, refused, run_there  # noqa: F401
from test_surface import checked, smallest

ARN = "arn:aws:ssm:us-east-1:000000000000:parameter"
ROOT_USER = "arn:aws:iam::000000000000:root"
ROLE = "arn:aws:iam::000000000000:role/reader"
SERVED = {
    "AddTagsToResource", "DeleteParameter", "DeleteParameters", "DescribeParameters",
    "GetParameter", "GetParameterHistory", "GetParameters", "GetParametersByPath",
    "LabelParameterVersion", "ListTagsForResource", "PutParameter", "RemoveTagsFromResource",
    "UnlabelParameterVersion",
}
# Documented, but nothing here can bring it about.
UNPROVOKED = {
    "InternalServerError": "a value is missing in the store: the last test",
    "InvalidKeyId": "there is no KMS that could not know a key",
    "TooManyUpdates": "updates come one after the other",
    "HierarchyTypeMismatchException": "AWS, too, changes types where it is asked to",
    "UnsupportedParameterType": "a type that is none is refused before",
    "PoliciesLimitExceededException": "there are no policies",
    "InvalidPolicyTypeException": "there are no policies",
    "InvalidPolicyAttributeException": "there are no policies",
    "IncompatiblePolicyException": "there are no policies",
    "ParameterLimitExceeded": "ten thousand parameters",
}
SUB_PATHS = ("If formed as a path, it can consist of sub-paths divided by slash symbol; each sub-path "
             "can be formed as a mix of letters, numbers and the following 3 symbols .-_")


@pytest.fixture(scope="module")
def brisk():
    """An installation with parameters of this file's own."""
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
def ssm(brisk):
    yield brisk.ssm
    left = names(brisk.ssm)
    for n in range(0, len(left), 10):
        brisk.ssm.delete_parameters(Names=left[n:n + 10])


def described(ssm, **members):
    pages = ssm.get_paginator("describe_parameters").paginate(**members)
    return [parameter for page in pages for parameter in page["Parameters"]]


def names(ssm, **members):
    return [parameter["Name"] for parameter in described(ssm, **members)]


def put(ssm, name, value="x", **members):
    return ssm.put_parameter(**{"Name": name, "Value": value, "Type": "String", **members})


def change(ssm, name, value="y", **members):
    return ssm.put_parameter(Name=name, Value=value, Overwrite=True, **members)


def value_of(ssm, name):
    return ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]


def by(key, *values, **option):
    return {"ParameterFilters": [{"Key": key, **({"Values": list(values)} if values else {}),
                                  **option}]}


# ---- making and reading ----

def test_a_parameter_is_found_by_each_of_its_names(ssm):
    assert put(ssm, "/app/db/host", "db.example", Description="d")["Version"] == 1
    put(ssm, "plain", "p")
    shown = ssm.get_parameter(Name="/app/db/host")["Parameter"]
    assert {k: shown[k] for k in shown if k != "LastModifiedDate"} == {
        "Name": "/app/db/host", "Type": "String", "Value": "db.example", "Version": 1,
        "ARN": f"{ARN}/app/db/host", "DataType": "text"}
    assert ssm.get_parameter(Name=shown["ARN"])["Parameter"] == shown
    for name in ("plain", "/plain"):    # a name of one level is the same with and without the slash
        found = ssm.get_parameter(Name=name)["Parameter"]
        assert (found["Name"], found["Value"], found["ARN"]) == (name, "p", f"{ARN}/plain")
    assert refused(put, ssm=ssm, name="/plain")[0] == "ParameterAlreadyExists"
    assert ssm.get_parameter(Name=f"{ARN}/plain")["Parameter"]["Name"] == "plain"


def test_versions_and_labels_are_selected(ssm):
    put(ssm, "/v", "1")
    for n in (2, 3):
        answer = change(ssm, "/v", str(n))
        assert (answer["Version"], answer["Tier"]) == (n, "Standard")
    assert ssm.label_parameter_version(Name="/v", ParameterVersion=2, Labels=["prod"])[
        "ParameterVersion"] == 2
    for selector, value in (("", "3"), (":1", "1"), (":3", "3"), (":prod", "2")):
        for name in ("/v", f"{ARN}/v"):
            found = ssm.get_parameter(Name=name + selector)["Parameter"]
            assert (found["Value"], found["Version"]) == (value, int(value))
            assert found["Name"] == "/v" and found.get("Selector", "") == selector
    for selector in ("4", "nobody"):
        assert refused(ssm.get_parameter, Name=f"/v:{selector}") == (
            "ParameterVersionNotFound", f"Systems Manager could not find version {selector} of /v. "
            "Verify the version and try again.")


def test_what_a_new_version_does_not_say_stays(ssm):
    put(ssm, "/k", "12", Description="first", AllowedPattern=r"\d+",
        Tags=[{"Key": "team", "Value": "a"}])
    change(ssm, "/k", "13")
    (shown,) = described(ssm)
    assert (shown["Description"], shown["AllowedPattern"]) == ("first", r"\d+")
    assert (shown["Type"], shown["Version"], shown["Tier"]) == ("String", 2, "Standard")
    assert shown["LastModifiedUser"] == ROOT_USER and shown["Policies"] == []
    assert refused(change, ssm=ssm, name="/k", value="x")[0] == "ParameterPatternMismatchException"
    change(ssm, "/k", "x", Description="", AllowedPattern="")
    (shown,) = described(ssm)
    assert not {"Description", "AllowedPattern"} & set(shown) and shown["Version"] == 3
    assert ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId="/k")["TagList"] == [
        {"Key": "team", "Value": "a"}]
    assert [v.get("Description") for v in history(ssm, "/k")] == ["first", "first", None]


def history(ssm, name, **members):
    pages = ssm.get_paginator("get_parameter_history").paginate(Name=name, **members)
    return [version for page in pages for version in page["Parameters"]]


def test_many_at_once(ssm):
    put(ssm, "/a", "1")
    change(ssm, "/a", "2")
    put(ssm, "b", "3", Type="StringList")
    found = ssm.get_parameters(Names=["/a", "/a:1", "b", f"{ARN}/b", "/a:9", "/none", "/a"])
    assert [(p["Name"], p["Value"]) for p in found["Parameters"]] == [
        ("/a", "2"), ("/a", "1"), ("b", "3"), ("b", "3")]
    assert found["InvalidParameters"] == ["/a:9", "/none"]
    code, text = refused(ssm.get_parameters, Names=["/a", "x/y"])
    assert code == "ValidationException" and SUB_PATHS in text


# ---- SecureString ----

def test_a_secure_string_is_sealed_unless_it_is_asked_for(ssm):
    put(ssm, "/s/key", "geheim", Type="SecureString")
    change(ssm, "/s/key", "geheim")
    ways = {
        "get": lambda **m: [ssm.get_parameter(Name="/s/key", **m)["Parameter"]],
        "first": lambda **m: [ssm.get_parameter(Name="/s/key:1", **m)["Parameter"]],
        "some": lambda **m: ssm.get_parameters(Names=["/s/key"], **m)["Parameters"],
        "path": lambda **m: ssm.get_parameters_by_path(Path="/s", **m)["Parameters"],
        "history": lambda **m: history(ssm, "/s/key", **m),
    }
    sealed = {}
    for way, ask in ways.items():
        for members in ({}, {"WithDecryption": False}):
            sealed[way] = [found["Value"] for found in ask(**members)]
        assert all(b"geheim" not in base64.b64decode(text) for text in sealed[way])
        assert {found["Value"] for found in ask(WithDecryption=True)} == {"geheim"}
        assert all(found["Type"] == "SecureString" for found in ask())
    # The same version shows the same text, each version one of its own.
    assert sealed["get"] == sealed["some"] == sealed["path"] == sealed["history"][1:]
    assert sealed["first"] == sealed["history"][:1] != sealed["get"]
    assert described(ssm)[0]["KeyId"] == history(ssm, "/s/key")[0]["KeyId"] == "alias/aws/ssm"
    change(ssm, "/s/key", "new", KeyId="alias/mine")
    change(ssm, "/s/key", "newer")
    assert described(ssm, **by("KeyId", "alias/mine"))[0]["Version"] == 4


def test_a_type_changes_where_that_is_asked(ssm):
    """As Terraform's provider tests it against AWS."""
    put(ssm, "/t", "a,b", Type="SecureString")
    for kind in ("String", "StringList", "SecureString"):
        change(ssm, "/t", "a,b", Type=kind)
        (shown,) = described(ssm)
        assert shown["Type"] == kind and ("KeyId" in shown) == (kind == "SecureString")
    assert [v["Type"] for v in history(ssm, "/t")] == [
        "SecureString", "String", "StringList", "SecureString"]


# ---- tiers, patterns, what a value may be ----

def test_tiers(ssm):
    long = "x" * 4097
    code, text = refused(put, ssm=ssm, name="/big", value=long)
    assert code == "ValidationException" and text.startswith(
        "Standard tier parameters support a maximum parameter value of 4096 characters. To create a "
        "larger parameter value, upgrade the parameter to use the advanced-parameter tier.")
    assert put(ssm, "/small", "x" * 4096)["Tier"] == "Standard"
    assert put(ssm, "/big", "x" * 8192, Tier="Advanced")["Tier"] == "Advanced"
    assert refused(change, ssm=ssm, name="/big", value="x" * 8193) == (
        "ValidationException",
        "Advanced tier parameters support a maximum parameter value of 8192 characters.")
    code, text = refused(change, ssm=ssm, name="/big", value="x", Tier="Standard")
    assert code == "ValidationException" and "You can't downgrade a parameter" in text
    assert change(ssm, "/big", "x")["Tier"] == "Advanced"
    assert change(ssm, "/big", "x", Tier="Intelligent-Tiering")["Tier"] == "Advanced"
    assert put(ssm, "/auto", "x", Tier="Intelligent-Tiering")["Tier"] == "Standard"
    assert change(ssm, "/auto", long, Tier="Intelligent-Tiering")["Tier"] == "Advanced"
    assert change(ssm, "/small", long, Tier="Advanced")["Tier"] == "Advanced"
    assert names(ssm, **by("Tier", "Standard")) == []
    assert len(names(ssm, **by("Tier", "Advanced"))) == 3


def test_patterns_as_in_aws_s_tutorial(ssm):
    name = "/MyService/Test/MaxConnections"
    put(ssm, name, "100", AllowedPattern=r"\d{1,4}")
    assert refused(change, ssm=ssm, name=name, value="10,000", Type="String") == (
        "ParameterPatternMismatchException",
        r"Parameter value, cannot be validated against allowedPattern: \d{1,4}")
    put(ssm, "/MyService/Test/my-password", "p#sW*rd33", AllowedPattern=".{8,20}",
        Type="SecureString")
    put(ssm, "/list", "eu-1,us-2", AllowedPattern="(eu|us)-[0-9]", Type="StringList")
    assert refused(change, ssm=ssm, name="/list", value="eu-1,x")[0] == \
        "ParameterPatternMismatchException"
    for pattern, word in (("(a", "missing closing parenthesis"), ("*a", "quantifier"),
                          ("[z-a]", "range out of order")):
        code, text = refused(put, ssm=ssm, name="/p", AllowedPattern=pattern)
        assert code == "InvalidAllowedPatternException" and word in text


@pytest.mark.parametrize("members, code, text", [
    ({"Name": "a/b"}, "ValidationException", "Parameter name must be a fully qualified name."),
    ({"Name": "/a//b"}, "ValidationException", SUB_PATHS),
    ({"Name": "/a b"}, "ValidationException", SUB_PATHS),
    ({"Name": "/a:1"}, "ValidationException", SUB_PATHS),
    ({"Name": "aws-x"}, "ValidationException",
     "Parameter name: can't be prefixed with \"aws\" or \"ssm\" (case-insensitive)."),
    ({"Name": "/SSM/x"}, "ValidationException", SUB_PATHS),
    ({"Name": "/aws/service/x"}, "AccessDeniedException",
     "No access to reserved parameter name: /aws/service/x."),
    ({"Name": "/a" * 16}, "HierarchyLevelLimitExceededException",
     "A hierarchy can have a maximum of 15 levels."),
    ({"Name": "x" * 1000}, "ValidationException", "at most 1011"),
    ({"Name": ""}, "ValidationException", "Name"),
    ({"Value": ""}, "ValidationException",
     "1 validation error detected: Value '' at 'value' failed to satisfy constraint: Member must "
     "have length greater than or equal to 1."),
    ({"Type": None}, "ValidationException",
     "A parameter type is required when you create a parameter."),
    ({"Type": "Number"}, "ValidationException", "Type"),
    ({"Type": 3}, "SerializationException", "Type"),
    ({"Tier": "Gold"}, "ValidationException", "Tier"),
    ({"KeyId": "alias/x"}, "ValidationException",
     "KeyId is required for SecureString type parameter only."),
    ({"Tags": [{"Key": "k", "Value": "v"}], "Overwrite": True}, "ValidationException",
     "Invalid request: tags and overwrite can't be used together. To create a parameter with tags, "
     "please remove overwrite flag. To update tags for an existing parameter, please use "
     "AddTagsToResource or RemoveTagsFromResource."),
    ({"Tags": [{"Key": "aws:k", "Value": "v"}]}, "ValidationException", "aws:"),
    ({"Policies": "[{}]"}, "ValidationException",
     "Policies of parameters are not implemented yet."),
    ({"DataType": "aws:ec2:image"}, "ValidationException",
     "The data type aws:ec2:image is not implemented yet."),
    ({"DataType": "TEXT"}, "ValidationException",
     "The following data type is not supported: TEXT (Data type names are all lowercase.)"),
    ({"Description": "d" * 1025}, "ValidationException", "Description"),
])
def test_what_put_parameter_refuses(brisk, ssm, members, code, text):
    wanted = {"Name": "/x", "Value": "hidden", "Type": "String", **members}
    status, answer = brisk.call("PutParameter", {k: v for k, v in wanted.items() if v is not None},
                                service="ssm")
    assert (status, answer["__type"]) == (400, code)
    assert text in answer["message"] and "hidden" not in answer["message"]
    assert names(ssm) == []


def test_what_is_there_is_not_overwritten_unasked(ssm):
    put(ssm, "/x", "first")
    assert refused(put, ssm=ssm, name="/x", value="second") == (
        "ParameterAlreadyExists", "The parameter already exists. To overwrite this value, set the "
        "overwrite option in the request to true.")
    assert value_of(ssm, "/x") == "first"
    assert change(ssm, "/new", Type="String")["Version"] == 1   # Overwrite makes one, too


def test_the_largest_record_that_can_be(brisk, ssm):
    """Every character of it is written as six; and a hundred labels are on other versions."""
    dirt = {"Description": "\x01" * 1024, "AllowedPattern": "[\x01]*", "Type": "SecureString"}
    put(ssm, "/dirt", "\x01" * 8192, Tier="Advanced", **dirt)
    for n in range(2, 101):
        change(ssm, "/dirt", "\x01" * 8192, **dirt)
        ssm.label_parameter_version(Name="/dirt", Labels=[f"{'l' * 90}{n}-{k}" for k in range(10)])
    ssm.add_tags_to_resource(ResourceType="Parameter", ResourceId="/dirt", Tags=[
        {"Key": f"{n}{'ü' * 120}", "Value": "ü" * 256} for n in range(50)])
    change(ssm, "/dirt", "\x01", **dirt)
    brisk.kill("server")
    brisk.up()
    assert len(history(brisk.ssm, "/dirt")) == 100
    assert len(brisk.ssm.get_parameter_history(Name="/dirt", WithDecryption=True)[
        "Parameters"]) == 50
    assert sum(len(v.get("Labels", [])) for v in history(brisk.ssm, "/dirt")) == 990


# ---- by path ----

def made_tree(ssm):
    for name in ("root", "/app/a", "/app/b", "/app/db/host", "/app/db/user", "/apple/x"):
        put(ssm, name, name)
    put(ssm, "/app/db/password", "p", Type="SecureString")


def below(ssm, path, **members):
    pages = ssm.get_paginator("get_parameters_by_path").paginate(Path=path, **members)
    return [parameter["Name"] for page in pages for parameter in page["Parameters"]]


@pytest.mark.parametrize("size", [None, 1, 2])
def test_by_path(ssm, size):
    made_tree(ssm)
    pages = {"PaginationConfig": {"PageSize": size}}
    assert below(ssm, "/app", **pages) == ["/app/a", "/app/b"]
    assert below(ssm, "/app/", **pages) == ["/app/a", "/app/b"]
    assert below(ssm, "/app", Recursive=True, **pages) == [
        "/app/a", "/app/b", "/app/db/host", "/app/db/password", "/app/db/user"]
    assert below(ssm, "/", **pages) == ["root"]
    assert len(below(ssm, "/", Recursive=True, **pages)) == 7
    assert below(ssm, "/app/a", **pages) == below(ssm, "/none", Recursive=True, **pages) == []
    assert below(ssm, "/app", Recursive=True, **pages, **by("Type", "SecureString")) == [
        "/app/db/password"]


def test_by_path_a_page_goes_on_where_the_last_one_ended(ssm):
    made_tree(ssm)
    page = ssm.get_parameters_by_path(Path="/app", Recursive=True, MaxResults=2)
    ssm.delete_parameters(Names=["/app/b", "/app/db/host"])
    put(ssm, "/app/c")
    rest = ssm.get_parameters_by_path(Path="/app", Recursive=True, NextToken=page["NextToken"])
    assert [p["Name"] for p in rest["Parameters"]] == [
        "/app/c", "/app/db/password", "/app/db/user"]
    other = base64.b64encode(b"/other/x").decode()
    for token in ("!", other, "A" * 100000):
        assert refused(ssm.get_parameters_by_path, Path="/app", NextToken=token) == (
            "InvalidNextToken", "The specified token is not valid.")


def test_by_path_and_label(ssm):
    made_tree(ssm)
    change(ssm, "/app/a", "second")
    ssm.label_parameter_version(Name="/app/a", ParameterVersion=1, Labels=["release"])
    (found,) = ssm.get_parameters_by_path(Path="/app", **by("Label", "release"))["Parameters"]
    assert (found["Name"], found["Version"], found["Value"]) == ("/app/a", 1, "/app/a")
    assert below(ssm, "/app", **by("Label", "none")) == []


@pytest.mark.parametrize("members, code", [
    ({"Path": "app"}, "ValidationException"), ({"Path": "/a//b"}, "ValidationException"),
    ({"MaxResults": 11}, "ValidationException"), (by("Name", "x"), "InvalidFilterKey"),
    (by("Label", "x", Option="BeginsWith"), "InvalidFilterOption"), (by("Type"), "InvalidFilterValue"),
    (by("Type", "x"), "InvalidFilterValue"),
])
def test_what_by_path_refuses(brisk, members, code):
    _, answer = brisk.call("GetParametersByPath", {"Path": "/", **members}, service="ssm")
    assert answer["__type"] == code


# ---- lists ----

def test_filters(ssm):
    made_tree(ssm)
    ssm.add_tags_to_resource(ResourceType="Parameter", ResourceId="/app/a",
                             Tags=[{"Key": "team", "Value": "blue"}])
    for members, found in (
            (by("Name", "/app/a", "root"), "/app/a root"),
            (by("Name", "app", Option="BeginsWith"), "/app/a /app/b /app/db/host /app/db/password "
                                                     "/app/db/user /apple/x"),
            (by("Name", "db", Option="Contains"), "/app/db/host /app/db/password /app/db/user"),
            (by("Path", "/app"), "/app/a /app/b"),
            (by("Path", "/app/db", "/apple", Option="Recursive"),
             "/app/db/host /app/db/password /app/db/user /apple/x"),
            (by("Type", "SecureString"), "/app/db/password"),
            (by("KeyId", "alias/aws/ssm"), "/app/db/password"),
            (by("tag:team", "blue"), "/app/a"), (by("tag:team"), "/app/a"),
            (by("tag:team", "red"), ""), (by("DataType", "aws:ec2:image"), ""),
            ({"Shared": True}, ""),
            ({"Filters": [{"Key": "Name", "Values": ["/app/db"]}]},
             "/app/db/host /app/db/password /app/db/user"),
            ({"Filters": [{"Key": "Type", "Values": ["SecureString"]}]}, "/app/db/password"),
            ({"Filters": [{"Key": "KeyId", "Values": ["alias/aws/ssm"]}]}, "/app/db/password")):
        assert names(ssm, **members) == found.split(), members
        assert names(ssm, PaginationConfig={"PageSize": 1}, **members) == found.split()
    both = by("Path", "/app", Option="Recursive")["ParameterFilters"] + by("Type", "String")[
        "ParameterFilters"]
    assert len(names(ssm, ParameterFilters=both)) == 4


@pytest.mark.parametrize("members, code", [
    (by("Label", "x"), "InvalidFilterKey"), (by("Size", "x"), "InvalidFilterKey"),
    (by("Name"), "InvalidFilterValue"), (by("Name", "x", Option="EndsWith"), "InvalidFilterOption"),
    ({"ParameterFilters": by("Name", "x")["ParameterFilters"] * 2}, "InvalidFilterKey"),
    ({"ParameterFilters": [{"Key": f"tag:{n}"} for n in range(51)]}, "InvalidFilterKey"),
    (by("Path", "/ssm/x"), "ValidationException"), ({"MaxResults": 51}, "ValidationException"),
    ({"NextToken": "x"}, "InvalidNextToken"),
    ({"Filters": [{"Key": "Name", "Values": ["x"]}], **by("Name", "x")}, "ValidationException"),
    ({"Filters": [{"Key": "Tier", "Values": ["x"]}]}, "ValidationException"),
])
def test_what_describe_parameters_refuses(brisk, members, code):
    _, answer = brisk.call("DescribeParameters", members, service="ssm")
    assert answer["__type"] == code


def test_parameters_are_deleted(ssm):
    for name in ("/a", "b", "/c"):
        put(ssm, name)
    ssm.delete_parameter(Name="/a")
    for call in (ssm.delete_parameter, ssm.get_parameter, ssm.get_parameter_history):
        assert refused(call, Name="/a") == ("ParameterNotFound", "Parameter /a not found.")
    answer = ssm.delete_parameters(Names=["/b", "/c:1", "/none", "/c"])
    assert answer["DeletedParameters"] == ["/b", "/c"]
    assert answer["InvalidParameters"] == ["/c:1", "/none"]
    assert put(ssm, "/a", "again")["Version"] == 1
    assert len(history(ssm, "/a")) == 1 and names(ssm) == ["/a"]
    assert refused(ssm.delete_parameter, Name="/a:1")[0] == "ParameterNotFound"


def test_public_parameters_are_not_pretended(ssm):
    name = "/aws/service/ecs/optimized-ami/amazon-linux-2/recommended"
    assert refused(ssm.get_parameter, Name=name) == (
        "ParameterNotFound",
        f"Parameter {name} not found: AWS's public parameters are not kept here.")
    assert ssm.get_parameters(Names=[name])["InvalidParameters"] == [name]
    assert below(ssm, "/aws/service/ecs", Recursive=True) == []


# ---- versions, labels ----

def test_a_hundred_versions_are_kept(ssm):
    put(ssm, "/n", "1")
    for n in range(2, 103):
        change(ssm, "/n", str(n))
    assert [v["Version"] for v in history(ssm, "/n")] == list(range(3, 103))
    assert [v["Value"] for v in history(ssm, "/n", PaginationConfig={"PageSize": 7})] == [
        str(n) for n in range(3, 103)]
    assert refused(ssm.get_parameter, Name="/n:2")[0] == "ParameterVersionNotFound"
    ssm.label_parameter_version(Name="/n", ParameterVersion=3, Labels=["keep"])
    assert refused(change, ssm=ssm, name="/n") == (
        "ParameterMaxVersionLimitExceeded",
        "You attempted to create a new version of /n by calling the PutParameter API with the "
        "overwrite flag. Version 3, the oldest version, can't be deleted because it has a label "
        "associated with it. Move the label to another version of the parameter, and try again.")
    ssm.label_parameter_version(Name="/n", ParameterVersion=4, Labels=["keep"])
    assert change(ssm, "/n")["Version"] == 103
    for token in ("!", base64.b64encode(b"x").decode()):
        assert refused(ssm.get_parameter_history, Name="/n", NextToken=token)[0] == "InvalidNextToken"


def labels(ssm, name):
    return {v["Version"]: v["Labels"] for v in history(ssm, name) if v.get("Labels")}


def test_labels_move_and_go(ssm):
    put(ssm, "/l", "1")
    change(ssm, "/l", "2")
    answer = ssm.label_parameter_version(Name="/l", Labels=["new", "1st", "aws-x", "a/b", "prod"])
    assert answer["ParameterVersion"] == 2 and answer["InvalidLabels"] == ["1st", "aws-x", "a/b"]
    assert ssm.label_parameter_version(Name="/l", ParameterVersion=1, Labels=["prod"])[
        "InvalidLabels"] == []
    assert labels(ssm, "/l") == {1: ["prod"], 2: ["new"]}
    ssm.label_parameter_version(Name="/l", ParameterVersion=1, Labels=["prod"])
    assert labels(ssm, "/l") == {1: ["prod"], 2: ["new"]}
    answer = ssm.unlabel_parameter_version(Name="/l", ParameterVersion=1, Labels=["prod", "new"])
    assert (answer["RemovedLabels"], answer["InvalidLabels"]) == (["prod"], ["new"])
    assert labels(ssm, "/l") == {2: ["new"]}
    ssm.label_parameter_version(Name="/l", Labels=[f"l{n}" for n in range(9)])
    code, text = refused(ssm.label_parameter_version, Name="/l", Labels=["eleventh"])
    assert code == "ParameterVersionLabelLimitExceeded" and "maximum 10 labels" in text
    for call in (ssm.label_parameter_version, ssm.unlabel_parameter_version):
        more = {"ParameterVersion": 7, "Labels": ["x"]}
        assert refused(call, Name="/l", **more)[0] == "ParameterVersionNotFound"
        assert refused(call, Name="/none", **more)[0] == "ParameterNotFound"


def test_tags(ssm):
    put(ssm, "/t", Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}])
    there = {"ResourceType": "Parameter", "ResourceId": "/t"}
    ssm.add_tags_to_resource(Tags=[{"Key": "b", "Value": "2"}, {"Key": "c", "Value": "3"}], **there)
    ssm.remove_tags_from_resource(TagKeys=["a", "none"], **there)
    for name in ("/t", "t", f"{ARN}/t"):
        assert ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=name)["TagList"] == [
            {"Key": "b", "Value": "2"}, {"Key": "c", "Value": "3"}]
    many = [{"Key": f"k{n}", "Value": ""} for n in range(51)]
    assert refused(ssm.add_tags_to_resource, Tags=many, **there)[0] == "TooManyTagsError"
    assert refused(ssm.add_tags_to_resource, Tags=many[:49], **there)[0] == "TooManyTagsError"
    assert refused(put, ssm=ssm, name="/u", Tags=many)[0] == "TooManyTagsError"
    for call, more in ((ssm.add_tags_to_resource, {"Tags": many[:1]}),
                       (ssm.remove_tags_from_resource, {"TagKeys": ["a"]}),
                       (ssm.list_tags_for_resource, {})):
        for name in ("/none", "a/b", "x" * 3000):
            assert refused(call, ResourceType="Parameter", ResourceId=name, **more) == (
                "InvalidResourceId",
                "The resource ID is not valid. Verify that you entered the correct ID and try again.")
        assert refused(call, ResourceType="Document", ResourceId="/t", **more)[0] == \
            "InvalidResourceType"
    assert len(names(ssm)) == 1


# ---- the model, the clients ----

def test_every_operation_answers_as_the_model_says(brisk, ssm):
    answered = {}

    def ask(operation, **members):
        answered[operation] = checked(brisk, operation, members, "ssm")
        return answered[operation]
    ask("PutParameter", Name="/m/a", Value="v", Type="SecureString", Description="d",
        AllowedPattern="v*", Tags=[{"Key": "k", "Value": "v"}], KeyId="alias/aws/ssm")
    ask("LabelParameterVersion", Name="/m/a", Labels=["x", "y", "1"])
    ask("UnlabelParameterVersion", Name="/m/a", ParameterVersion=1, Labels=["y", "z"])
    ask("GetParameter", Name="/m/a:x", WithDecryption=True)
    ask("GetParameters", Names=["/m/a", "/m/b"])
    assert ask("GetParametersByPath", Path="/m")["Parameters"]
    assert ask("GetParameterHistory", Name="/m/a")["Parameters"][0]["Labels"] == ["x"]
    assert ask("DescribeParameters")["Parameters"]
    there = {"ResourceType": "Parameter", "ResourceId": "/m/a"}
    ask("AddTagsToResource", Tags=[{"Key": "l", "Value": "w"}], **there)
    ask("RemoveTagsFromResource", TagKeys=["k"], **there)
    assert ask("ListTagsForResource", **there)["TagList"]
    ask("DeleteParameters", Names=["/m/a", "/m/b"])
    put(ssm, "/m/c")
    ask("DeleteParameter", Name="/m/c")
    assert set(answered) == SERVED


def wrong_requests():
    """(operation, members, error), where /e has one version with ten labels."""
    yield "DeleteParameter", {"Name": "/none"}, "ParameterNotFound"
    yield "GetParameter", {"Name": "/none"}, "ParameterNotFound"
    yield "GetParameter", {"Name": "/e:2"}, "ParameterVersionNotFound"
    yield "GetParameterHistory", {"Name": "/none"}, "ParameterNotFound"
    yield "GetParameterHistory", {"Name": "/e", "NextToken": "x"}, "InvalidNextToken"
    for operation, more in (("DescribeParameters", {}), ("GetParametersByPath", {"Path": "/"})):
        yield operation, {**more, **by("Size", "x")}, "InvalidFilterKey"
        yield operation, {**more, **by("Type", "x", Option="x")}, "InvalidFilterOption"
        yield operation, {**more, **by("Type", "x")}, "InvalidFilterValue"
        yield operation, {**more, "NextToken": "x"}, "InvalidNextToken"
    for operation in ("LabelParameterVersion", "UnlabelParameterVersion"):
        more = {"Labels": ["x"], "ParameterVersion": 2}
        yield operation, {"Name": "/none", **more}, "ParameterNotFound"
        yield operation, {"Name": "/e", **more}, "ParameterVersionNotFound"
    yield "LabelParameterVersion", {"Name": "/e", "Labels": ["x"]}, \
        "ParameterVersionLabelLimitExceeded"
    for operation, more in (("AddTagsToResource", {"Tags": []}), ("ListTagsForResource", {}),
                            ("RemoveTagsFromResource", {"TagKeys": []})):
        yield operation, {"ResourceType": "Parameter", "ResourceId": "/none", **more}, \
            "InvalidResourceId"
        yield operation, {"ResourceType": "OpsItem", "ResourceId": "/e", **more}, \
            "InvalidResourceType"
    yield "AddTagsToResource", {"ResourceType": "Parameter", "ResourceId": "/e", "Tags": [
        {"Key": f"k{n}", "Value": ""} for n in range(51)]}, "TooManyTagsError"
    wanted = {"Name": "/new", "Value": "x", "Type": "String"}
    yield "PutParameter", {**wanted, "Name": "/a" * 16}, "HierarchyLevelLimitExceededException"
    yield "PutParameter", {**wanted, "AllowedPattern": "("}, "InvalidAllowedPatternException"
    yield "PutParameter", {**wanted, "AllowedPattern": "y"}, "ParameterPatternMismatchException"
    yield "PutParameter", {**wanted, "Name": "/e"}, "ParameterAlreadyExists"


def test_every_documented_error_is_brought_about(brisk, ssm):
    put(ssm, "/e")
    ssm.label_parameter_version(Name="/e", Labels=[f"l{n}" for n in range(10)])
    # The limit of versions has a test of its own.
    provoked = {("PutParameter", "ParameterMaxVersionLimitExceeded")}
    for operation, members, code in wrong_requests():
        status, answer = brisk.call(operation, members, service="ssm")
        assert (status, answer["__type"]) == (400, code), (operation, members)
        assert answer["message"]
        provoked.add((operation, code))
    model = ssm.meta.service_model
    documented = {(name, error.name) for name in SERVED
                  for error in model.operation_model(name).error_shapes}
    assert {(name, error) for name, error in documented - provoked
            if error not in UNPROVOKED} == set()


def test_the_other_operations_are_refused_by_name(brisk, ssm):
    model = ssm.meta.service_model
    known = 0
    for name in sorted(set(model.operation_names) - SERVED):
        shape = model.operation_model(name).input_shape
        status, answer = brisk.call(name, smallest(shape) if shape else {}, service="ssm")
        assert status == 400, name
        if answer["__type"] != "UnknownOperationException":     # of a newer model than ours
            known += 1
            assert (answer["__type"], answer["message"]) == (
                "ValidationException", f"{name} is not implemented yet.")
    assert known > 120


def test_the_aws_cli(brisk, ssm):
    aws = brisk.aws_json
    made = aws("ssm", "put-parameter", "--name", "/cli/key", "--value", "geheim", "--type",
               "SecureString", "--tags", "Key=team,Value=a", "--tier", "Standard")
    assert made == {"Version": 1, "Tier": "Standard"}
    again = brisk.aws("ssm", "put-parameter", "--name", "/cli/key", "--value", "x", check=False)
    assert "(ParameterAlreadyExists)" in again.stderr
    aws("ssm", "put-parameter", "--name", "/cli/key", "--value", "neu", "--overwrite")
    text = brisk.aws("ssm", "get-parameter", "--name", "/cli/key", "--with-decryption", "--query",
                     "Parameter.Value", "--output", "text").stdout
    assert text == "neu\n"
    found = aws("ssm", "get-parameters-by-path", "--path", "/cli", "--recursive")
    assert [p["Name"] for p in found["Parameters"]] == ["/cli/key"]
    assert aws("ssm", "describe-parameters", "--parameter-filters",
               "Key=tag:team,Values=a")["Parameters"][0]["KeyId"] == "alias/aws/ssm"
    assert len(aws("ssm", "get-parameter-history", "--name", "/cli/key")["Parameters"]) == 2
    brisk.aws("ssm", "delete-parameter", "--name", "/cli/key")
    public = brisk.aws("ssm", "get-parameter", "--name",
                       "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended", check=False)
    assert "(ParameterNotFound)" in public.stderr


def test_what_terraform_s_provider_does(ssm):
    """aws_ssm_parameter: made with tags, read back by four calls, changed, no difference left."""
    wanted = {"Name": "/tf/param", "Type": "SecureString", "Value": "one", "AllowedPattern": "",
              "Description": "made by Terraform", "Overwrite": False}
    ssm.put_parameter(Tags=[{"Key": "Name", "Value": "x"}], **wanted)

    def read():
        shown = ssm.get_parameter(Name="/tf/param", WithDecryption=True)["Parameter"]
        (told,) = ssm.describe_parameters(**by("Name", "/tf/param", Option="Equals"))["Parameters"]
        tags = ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId="/tf/param")
        return (shown["Value"], shown["Type"], told.get("Description"), told.get("AllowedPattern"),
                told["KeyId"], told["Tier"], told["DataType"], tags["TagList"])
    assert read() == ("one", "SecureString", "made by Terraform", None, "alias/aws/ssm", "Standard",
                      "text", [{"Key": "Name", "Value": "x"}])
    ssm.put_parameter(Name="/tf/param", Type="SecureString", Value="two", AllowedPattern="",
                      Overwrite=True, Tier="Standard", KeyId="alias/aws/ssm")
    assert read()[:3] == ("two", "SecureString", "made by Terraform")
    ssm.delete_parameter(Name="/tf/param")
    assert refused(ssm.get_parameter, Name="/tf/param")[0] == "ParameterNotFound"


# ---- who may ----

def test_agents_reach_nothing(brisk, ssm):
    put(ssm, "/x")
    model = ssm.meta.service_model
    for name in sorted(SERVED | {"DescribeDocument", "SendCommand"}):
        status, answer = brisk.call(name, smallest(model.operation_model(name).input_shape),
                                    service="ssm", key=brisk.key("agent"))
        assert (status, answer["__type"]) == (400, "AccessDeniedException"), name
        assert f"is not authorized to perform: ssm:{name}" in answer["message"]


def test_an_execution_role_reads_and_a_task_s_role_does_all(brisk, ssm, agent):  # noqa: F811
    put(ssm, "/x", "geheim", Type="SecureString")
    task = run_there(brisk, taskRoleArn=ROLE, executionRoleArn=ROLE)
    brisk.wait(task, "RUNNING", cluster="roles")
    payload = agent.payloads[0]["tasks"][0]
    execution = client(brisk, payload["executionRoleCredentials"], "ssm")
    assert value_of(execution, "/x") == "geheim"
    assert execution.get_parameters(Names=["/x"], WithDecryption=True)["Parameters"]
    model = ssm.meta.service_model
    for name in sorted(SERVED - {"GetParameter", "GetParameters"}):
        credentials = payload["executionRoleCredentials"]
        key = {"accessKeyId": credentials["accessKeyId"],
               "secretAccessKey": credentials["secretAccessKey"]}
        _, answer = brisk.call(name, smallest(model.operation_model(name).input_shape),
                               service="ssm", key=key, token=credentials["sessionToken"])
        assert answer["__type"] == "AccessDeniedException", name
    own = client(brisk, payload["roleCredentials"], "ssm")
    put(own, "/by/task", "1")
    (shown,) = described(own, **by("Name", "/by/task"))
    task_id = task.rsplit("/", 1)[1]
    assert shown["LastModifiedUser"] == f"arn:aws:sts::000000000000:assumed-role/reader/{task_id}"
    own.delete_parameter(Name="/by/task")
    brisk.ecs.stop_task(cluster="roles", task=task)
    brisk.wait(task, cluster="roles")
    assert refused(own.get_parameter, Name="/x")[0] == "ExpiredTokenException"


def test_a_signature_for_another_service_is_refused(brisk):
    body = b'{"Name": "/x"}'
    status, answer = brisk.post(brisk.signed("AmazonSSM.GetParameter", body), body)
    assert (status, answer["__type"]) == (400, "InvalidSignatureException")


def test_a_program_in_a_container_reads_by_its_role(cluster):
    task = cluster.start(cluster.register(idle(name="c"), taskRoleArn=ROLE))
    container = Container(cluster, cluster.wait(task, "RUNNING")["containers"][0])
    ssm = client(cluster, container.get(address(container)), "ssm")
    put(ssm, "/from/within", "x", Type="SecureString")
    assert value_of(ssm, "/from/within") == "x"
    ssm.delete_parameter(Name="/from/within")


# ---- durability ----

def test_what_was_answered_outlives_a_kill_and_cannot_be_read_in_the_files(brisk, ssm):
    words = [f"{word}-{uuid.uuid4().hex}" for word in ("value", "plain", "told", "gone")]
    value, plain, told, gone = words
    put(ssm, "/kept/key", gone, Type="SecureString", Description=told,
        Tags=[{"Key": told, "Value": told}])
    change(ssm, "/kept/key", value)
    ssm.label_parameter_version(Name="/kept/key", ParameterVersion=1, Labels=["old"])
    put(ssm, "plain", plain)
    put(ssm, "/deleted", gone)
    ssm.delete_parameter(Name="/deleted")
    sealed = ssm.get_parameter(Name="/kept/key")["Parameter"]["Value"]
    brisk.kill("server")
    for word in words:
        found = subprocess.run(["grep", "-rlaF", word, brisk.data_dir], capture_output=True,
                               text=True, timeout=60)
        assert found.stdout == ""
    brisk.up()
    ssm = brisk.ssm
    assert value_of(ssm, "/kept/key") == value and value_of(ssm, "/kept/key:old") == gone
    assert ssm.get_parameter(Name="/kept/key")["Parameter"]["Value"] == sealed
    assert names(ssm) == ["/kept/key", "plain"] and value_of(ssm, "plain") == plain
    assert refused(ssm.get_parameter, Name="/deleted")[0] == "ParameterNotFound"
    assert change(ssm, "/kept/key")["Version"] == 3
    assert refused(ssm.get_parameter, Name="/kept/key:4")[0] == "ParameterVersionNotFound"


def test_every_answer_was_durable(brisk, ssm):
    """Killed right behind an answer, over and over: nothing that was told is lost."""
    put(ssm, "/count", "0")
    for n in range(1, 4):
        for k in range(20):
            change(brisk.ssm, "/count", f"{n}.{k}")
        brisk.kill("server")
        brisk.up()
        assert value_of(brisk.ssm, "/count") == f"{n}.19"
    assert [v["Version"] for v in history(brisk.ssm, "/count")] == list(range(1, 62))
    assert json.loads(brisk.fairlead("status", "--json").stdout)["server"]


def test_a_value_that_somebody_took_out_of_the_store(brisk, ssm):
    for name in ("/taken", "/whole"):
        put(ssm, name, "1")
        change(ssm, name, "2")
    brisk.fairlead("down")
    with contextlib.closing(sqlite3.connect(f"{brisk.data_dir}/server.db")) as db, db:
        done = db.execute("DELETE FROM record WHERE key = CAST(? AS BLOB)",
                          ("v/parameter-value/taken\n2",))
        assert done.rowcount == 1
    brisk.up()
    ssm = brisk.ssm
    missing = ("InternalServerError",
               "The value of version 2 of /taken is missing in the server's store.")
    assert refused(ssm.get_parameter, Name="/taken") == missing
    assert refused(ssm.get_parameters, Names=["/whole", "/taken", "/none"]) == missing
    assert refused(ssm.get_parameters_by_path, Path="/") == missing
    assert refused(ssm.describe_parameters) == missing
    assert refused(change, ssm=ssm, name="/taken") == missing
    assert value_of(ssm, "/taken:1") == "1" and value_of(ssm, "/whole") == "2"
    ssm.delete_parameter(Name="/taken")
    assert names(ssm) == ["/whole"]
