"""The ECR API as the AWS CLI and boto3 use it: repositories, images, layers, policies, refusals in
ECR's words. Method: what is made over one API is looked at over the other."""
import json
import time
import urllib.parse

from cluster import until
from oci import (OCI_CONFIG, OCI_MANIFEST, basic, config_of, digest_of, layer_of, manifest_of, name,
                 refused, registry)  # noqa: F401 (fixtures among them)

def test_repositories_are_given_back_as_they_were_made(registry, name):
    made = registry.ecr.create_repository(
        repositoryName=name, tags=[{"Key": "team", "Value": "a"}], imageTagMutability="IMMUTABLE",
        imageScanningConfiguration={"scanOnPush": True},
        encryptionConfiguration={"encryptionType": "KMS", "kmsKey": "alias/x"})["repository"]
    arn = f"arn:aws:ecr:us-east-1:000000000000:repository/{name}"
    assert made["repositoryArn"] == arn and made["registryId"] == "000000000000"
    assert made["repositoryUri"] == f"{registry.host}/{name}"
    assert made["encryptionConfiguration"] == {"encryptionType": "KMS", "kmsKey": "alias/x"}
    assert made["imageScanningConfiguration"] == {"scanOnPush": True}
    assert registry.ecr.describe_repositories(repositoryNames=[name])["repositories"] == [made]
    text = refused(registry.ecr.create_repository, "RepositoryAlreadyExistsException",
                   repositoryName=name)
    assert text == (f"The repository with name '{name}' already exists in the registry with id "
                    "'000000000000'")
    registry.ecr.tag_resource(resourceArn=arn, tags=[{"Key": "x", "Value": "1"},
                                                     {"Key": "team", "Value": "b"}])
    registry.ecr.untag_resource(resourceArn=arn, tagKeys=["x", "y"])
    assert registry.ecr.list_tags_for_resource(resourceArn=arn)["tags"] == \
        [{"Key": "team", "Value": "b"}]
    assert registry.ecr.delete_repository(repositoryName=name)["repository"] == made
    text = refused(registry.ecr.describe_repositories, "RepositoryNotFoundException",
                   repositoryNames=[name])
    assert text == (f"The repository with name '{name}' does not exist in the registry with id "
                    "'000000000000'")
    refused(registry.ecr.create_repository, "InvalidParameterException", repositoryName="No-Way")


def test_repositories_come_in_pages(registry, name):
    names = [f"{name}/{i}" for i in range(5)]
    for each in names:
        registry.ecr.create_repository(repositoryName=each)
    pages = registry.ecr.get_paginator("describe_repositories").paginate(
        PaginationConfig={"PageSize": 2})
    seen = [r["repositoryName"] for page in pages for r in page["repositories"]]
    assert [n for n in seen if n.startswith(name)] == names
    refused(registry.ecr.describe_repositories, "InvalidParameterException", nextToken="bad")


def test_images_over_ecr(registry, name):
    one = registry.image(name, "ecr-one", "1", "latest")
    two = registry.image(name, "ecr-two")
    listed = registry.ecr.list_images(repositoryName=name)["imageIds"]
    assert sorted((i["imageDigest"], i.get("imageTag")) for i in listed) == \
        sorted([(one, "1"), (one, "latest"), (two, None)], key=lambda p: (p[0], p[1] or ""))
    tagged = registry.ecr.list_images(repositoryName=name, filter={"tagStatus": "UNTAGGED"})
    assert tagged["imageIds"] == [{"imageDigest": two}]
    detail = registry.ecr.describe_images(repositoryName=name,
                                          imageIds=[{"imageTag": "1"}])["imageDetails"][0]
    assert detail["imageDigest"] == one and detail["imageTags"] == ["1", "latest"]
    assert detail["imageManifestMediaType"] == OCI_MANIFEST
    assert detail["artifactMediaType"] == OCI_CONFIG
    assert detail["imageSizeInBytes"] == len(layer_of("ecr-one")) + len(config_of("ecr-one"))
    assert abs(detail["imagePushedAt"].timestamp() - time.time()) < 300
    assert len(registry.ecr.describe_images(repositoryName=name)["imageDetails"]) == 2
    text = refused(registry.ecr.describe_images, "ImageNotFoundException", repositoryName=name,
                   imageIds=[{"imageTag": "no"}])
    assert text == ("The image with imageId {imageDigest:'null', imageTag:'no'} does not exist "
                    f"within the repository with name '{name}' in the registry with id "
                    "'000000000000'")
    got = registry.ecr.batch_get_image(repositoryName=name, imageIds=[
        {"imageTag": "latest"}, {"imageTag": "no"}, {"imageDigest": one, "imageTag": "1"},
        {"imageDigest": two, "imageTag": "1"}])
    assert [i["imageId"] for i in got["images"]] == [
        {"imageDigest": one, "imageTag": "latest"}, {"imageDigest": one, "imageTag": "1"}]
    assert digest_of(got["images"][0]["imageManifest"].encode()) == one
    assert [f["failureCode"] for f in got["failures"]] == ["ImageNotFound",
                                                           "ImageTagDoesNotMatchDigest"]
    refused(registry.ecr.delete_repository, "RepositoryNotEmptyException", repositoryName=name)
    gone = registry.ecr.batch_delete_image(repositoryName=name, imageIds=[{"imageTag": "1"}])
    assert gone["imageIds"] == [{"imageDigest": one, "imageTag": "1"}] and not gone["failures"]
    assert registry.ask("GET", f"/v2/{name}/manifests/latest").status == 200
    gone = registry.ecr.batch_delete_image(repositoryName=name, imageIds=[{"imageDigest": one}])
    assert gone["imageIds"] == [{"imageDigest": one, "imageTag": "latest"}]
    assert registry.ask("GET", f"/v2/{name}/manifests/{one}").error() == "MANIFEST_UNKNOWN"
    registry.ecr.delete_repository(repositoryName=name, force=True)
    assert registry.ask("GET", f"/v2/{name}/tags/list").error() == "NAME_UNKNOWN"


def test_layers_and_images_over_ecr_alone(registry, name):
    registry.ecr.create_repository(repositoryName=name)
    layer, config = layer_of("layers " + "x" * 1000), config_of("layers " + "x" * 1000)
    for data in (layer, config):
        upload = registry.ecr.initiate_layer_upload(repositoryName=name)
        where = {"repositoryName": name, "uploadId": upload["uploadId"]}
        refused(registry.ecr.complete_layer_upload, "EmptyUploadException", **where,
                layerDigests=[digest_of(data)])
        part = registry.ecr.upload_layer_part(**where, partFirstByte=0, partLastByte=9,
                                              layerPartBlob=data[:10])
        assert part["lastByteReceived"] == 9
        refused(registry.ecr.upload_layer_part, "InvalidLayerPartException", **where,
                partFirstByte=0, partLastByte=9, layerPartBlob=data[:10])
        registry.ecr.upload_layer_part(**where, partFirstByte=10, partLastByte=len(data) - 1,
                                       layerPartBlob=data[10:])
        done = registry.ecr.complete_layer_upload(**where, layerDigests=[digest_of(data)])
        assert done["layerDigest"] == digest_of(data)
        refused(registry.ecr.complete_layer_upload, "UploadNotFoundException", **where,
                layerDigests=[digest_of(data)])
    found = registry.ecr.batch_check_layer_availability(
        repositoryName=name, layerDigests=[digest_of(layer), digest_of(b"no"), "nonsense"])
    assert [(x["layerAvailability"], x.get("layerSize")) for x in found["layers"]] == \
        [("AVAILABLE", len(layer)), ("UNAVAILABLE", None)]
    assert found["failures"][0]["failureCode"] == "InvalidLayerDigest"
    manifest = json.dumps(manifest_of(config, [layer]))
    put = registry.ecr.put_image(repositoryName=name, imageManifest=manifest, imageTag="1")["image"]
    assert put["imageId"] == {"imageDigest": digest_of(manifest.encode()), "imageTag": "1"}
    refused(registry.ecr.put_image, "ImageAlreadyExistsException", repositoryName=name,
            imageManifest=manifest, imageTag="1")
    refused(registry.ecr.put_image, "ImageDigestDoesNotMatchException", repositoryName=name,
            imageManifest=manifest, imageTag="2", imageDigest=digest_of(b"x"))
    lost = json.dumps(manifest_of(config, [b"never pushed"]))
    refused(registry.ecr.put_image, "LayersNotFoundException", repositoryName=name,
            imageManifest=lost, imageTag="3")
    refused(registry.ecr.put_image, "InvalidParameterException", repositoryName=name,
            imageManifest="{}", imageTag="3")
    url = registry.ecr.get_download_url_for_layer(repositoryName=name,
                                                  layerDigest=digest_of(layer))["downloadUrl"]
    parts = urllib.parse.urlsplit(url)
    assert parts.netloc == registry.host
    assert registry.ask("GET", f"{parts.path}?{parts.query}", auth=None).body == layer


def test_tags_that_do_not_move(registry, name):
    registry.ecr.create_repository(
        repositoryName=name, imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
        imageTagMutabilityExclusionFilters=[{"filterType": "WILDCARD", "filter": "dev-*"}])
    first = registry.image(name, "first", "1", "dev-1")
    assert registry.image(name, "first", "1") == first     # the same again is no move
    body = registry.ask("GET", f"/v2/{name}/manifests/{registry.image(name, 'second')}").body
    answer = registry.put_manifest(name, "1", body)
    assert (answer.status, answer.error()) == (400, "TAG_INVALID")
    assert b"cannot be overwritten because the tag is immutable" in answer.body
    assert registry.put_manifest(name, "dev-1", body).status == 201
    refused(registry.ecr.put_image, "ImageTagAlreadyExistsException", repositoryName=name,
            imageManifest=body.decode(), imageTag="1")
    registry.ecr.put_image_tag_mutability(repositoryName=name, imageTagMutability="MUTABLE")
    assert registry.put_manifest(name, "1", body).status == 201


def test_policies(registry, name):
    registry.ecr.create_repository(repositoryName=name)
    refused(registry.ecr.get_repository_policy, "RepositoryPolicyNotFoundException",
            repositoryName=name)
    refused(registry.ecr.set_repository_policy, "InvalidParameterException", repositoryName=name,
            policyText="no JSON")
    text = json.dumps({"Version": "2012-10-17", "Statement": []})
    registry.ecr.set_repository_policy(repositoryName=name, policyText=text)
    assert registry.ecr.get_repository_policy(repositoryName=name)["policyText"] == text
    registry.ecr.delete_repository_policy(repositoryName=name)
    refused(registry.ecr.get_repository_policy, "RepositoryPolicyNotFoundException",
            repositoryName=name)
    refused(registry.ecr.get_lifecycle_policy, "LifecyclePolicyNotFoundException",
            repositoryName=name)


def rule(priority, status, count_type, number, **selection):
    unit = {"countUnit": "days"} if count_type == "sinceImagePushed" else {}
    return {"rulePriority": priority, "description": "made for a test",
            "selection": {"tagStatus": status, "countType": count_type, "countNumber": number,
                          **unit, **selection}, "action": {"type": "expire"}}


def test_lifecycle_policies_are_previewed_and_applied(registry, name):
    registry.ecr.create_repository(repositoryName=name)
    digests = [registry.image(name, f"life-{i}", f"v{i}") for i in range(4)]
    loose = registry.image(name, "life-loose")
    for i, digest in enumerate([*digests, loose]):      # the first one is the oldest
        registry.pushed_before(name, digest, days=10 - i)
    text = json.dumps({"rules": [rule(1, "tagged", "imageCountMoreThan", 2, tagPrefixList=["v"]),
                                 rule(2, "untagged", "sinceImagePushed", 3)]})
    registry.ecr.start_lifecycle_policy_preview(repositoryName=name, lifecyclePolicyText=text)
    preview = registry.ecr.get_lifecycle_policy_preview(repositoryName=name)
    assert preview["status"] == "COMPLETE"
    assert {(r["imageDigest"], r["appliedRulePriority"]) for r in preview["previewResults"]} == \
        {(digests[0], 1), (digests[1], 1), (loose, 2)}
    assert preview["summary"]["expiringImageTotalCount"] == 3
    assert registry.ask("GET", f"/v2/{name}/manifests/v0").status == 200
    for bad in ("[]", json.dumps({"rules": []}), json.dumps({"rules": [rule(1, "any", "x", 1)]})):
        refused(registry.ecr.put_lifecycle_policy, "InvalidParameterException",
                repositoryName=name, lifecyclePolicyText=bad + " " * 100)
    registry.ecr.put_lifecycle_policy(repositoryName=name, lifecyclePolicyText=text)
    until(lambda: len(registry.ecr.list_images(repositoryName=name)["imageIds"]) == 2,
          what="the end of expired images", pause=0.2)
    left = registry.ecr.get_lifecycle_policy(repositoryName=name)
    assert left["lifecyclePolicyText"] == text and "lastEvaluatedAt" in left
    registry.ecr.delete_lifecycle_policy(repositoryName=name)


def test_a_preview_spares_what_collecting_spares(registry, name):
    registry.ecr.create_repository(repositoryName=name)
    digest = registry.image(name, "kept", "v1")
    size = len(registry.ask("GET", f"/v2/{name}/manifests/{digest}").body)
    subject = {"mediaType": OCI_MANIFEST, "digest": digest, "size": size}
    about = registry.image(name, "about it", subject=subject, artifactType="test/signature")
    alone = registry.image(name, "alone")
    for each in (digest, about, alone):
        registry.pushed_before(name, each, days=10)
    text = json.dumps({"rules": [rule(1, "untagged", "sinceImagePushed", 3)]}).ljust(100)
    registry.ecr.start_lifecycle_policy_preview(repositoryName=name, lifecyclePolicyText=text)
    preview = registry.ecr.get_lifecycle_policy_preview(repositoryName=name)
    assert [r["imageDigest"] for r in preview["previewResults"]] == [alone]


def test_what_is_not_there_says_so(registry):
    text = refused(registry.ecr.start_image_scan, "ClientException", repositoryName="aa",
                   imageId={"imageTag": "1"})
    assert "StartImageScan" in text
    refused(registry.ecr.describe_pull_through_cache_rules, "ClientException")


def test_the_aws_cli(registry, name):
    made = registry.made
    made.aws("ecr", "create-repository", "--repository-name", name)
    shown = made.aws_json("ecr", "describe-repositories", "--repository-names", name)
    assert shown["repositories"][0]["repositoryName"] == name
    password = made.aws("ecr", "get-login-password").stdout.strip()
    assert registry.ask("GET", "/v2/", auth=basic(password)).status == 200
    made.aws("ecr", "delete-repository", "--repository-name", name)
