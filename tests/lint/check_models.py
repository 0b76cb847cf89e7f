"""Compares the files of api/ with AWS's models, where FAIRLEAD_MODELS names a folder
that holds them: operations, members, types, limits, enums, required members, errors.

Run alone (python3 tests/lint/check_models.py), it prints what differs; check() returns the same as
a list, or None when there are no models to compare with."""
import json
import os
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tools"))

import apifile  # noqa: E402

# Our file, and where its model lies in the folder: the first that exists.
MODELS = [
    ("ecs.api", ["ecs-*.service-2.json", "botocore/ecs/*/service-2.json"]),
    ("logs.api", ["botocore/logs/*/service-2.json"]),
    ("sts.api", ["botocore/sts/*/service-2.json"]),
    ("ecr.api", ["botocore/ecr/*/service-2.json"]),
    ("secretsmanager.api", ["botocore/secretsmanager/*/service-2.json"]),
    ("ssm.api", ["botocore/ssm/*/service-2.json"]),
]
# Members that agents send (ECS's, or ours alone) and the public model does not have.
UNPUBLISHED = {"RegisterContainerInstanceRequest": ["clientToken"],
               "ContainerStateChange": ["healthStatus"]}
# A pattern of an answer, in characters that our notation does not have.
UNCHECKED_PATTERNS = {"GetCallerIdentityResponse.Arn"}
# The patterns that our notation has; what others ask for is checked by code.
CLASS = re.compile(r"\[[^\]]+\][*+]$")
# They come in an event stream only, as its members.
ERRORS_AS_EVENTS = {"SessionStreamingException", "SessionTimeoutException"}
PRIMITIVES = ("integer", "long", "double", "boolean", "timestamp")


class Comparison:
    """One api file against one model; both are walked from the operations down."""

    def __init__(self, api, model):
        self.api, self.model = api, model
        self.shapes = model["shapes"]
        self.problems, self.seen = [], set()

    def complain(self, where, text):
        self.problems.append(f"{os.path.basename(self.api.file)}: {where}: {text}")

    def same(self, where, what, ours, theirs):
        if ours != theirs:
            self.complain(where, f"{what}: {ours!r} here, {theirs!r} in the model")

    def run(self):
        metadata = self.model["metadata"]
        _, protocol, version, target, signing = self.api.service
        theirs = [metadata.get("jsonVersion"), metadata.get("targetPrefix")]
        if metadata["protocol"] == "query":
            theirs = [metadata["apiVersion"], metadata["xmlNamespace"].split("/")[2]]
        self.same("service", "protocol", [protocol, version, target, signing],
                  [metadata["protocol"], *theirs,
                   metadata.get("signingName", metadata["endpointPrefix"])])
        self.same("service", "operations", sorted(self.api.operations),
                  sorted(self.model["operations"]))
        for name, operation in self.api.operations.items():
            if operation.input and name in self.model["operations"]:
                self.operation(operation, self.model["operations"][name])
        return self.problems

    def operation(self, ours, theirs):
        for word, name in (("input", ours.input), ("output", ours.output)):
            their_name = theirs.get(word, {}).get("shape")
            self.same(ours.name, word, name, their_name)
            if name and name == their_name:
                self.structure(name)
        errors = sorted(error["shape"] for error in theirs.get("errors", []))
        self.same(ours.name, "errors", sorted(ours.errors), errors)
        for name in set(ours.errors) & set(errors):
            self.structure(name)

    def structure(self, name):
        if name in self.seen:
            return
        self.seen.add(name)
        ours, theirs = self.api.types[name], self.shapes[name]
        members = {member.name: member for member in ours.members}
        their_members = dict(theirs["members"])
        for member in UNPUBLISHED.get(name, []):
            members.pop(member, None)
        if ours.is_error:       # every error has a message, whether the model says so or not
            members.pop("message", None)
            their_members.pop("message", None)
        if name not in ERRORS_AS_EVENTS:
            self.same(name, "an error", ours.is_error, bool(theirs.get("exception")))
        self.same(name, "members", sorted(members), sorted(their_members))
        self.same(name, "required members",
                  sorted(member.name for member in members.values() if member.required),
                  sorted(theirs.get("required", [])))
        for member in set(members) & set(their_members):
            self.type(f"{name}.{member}", members[member].type, their_members[member]["shape"])

    def type(self, where, ours, name):
        theirs = self.shapes[name]
        kind = theirs["type"]
        if kind == "structure" and not theirs.get("document"):
            self.same(where, "type", ours.name, name)
            if ours.name == name:
                self.structure(name)
            return
        if "enum" in theirs:
            self.same(where, "type", ours.name, name)
            if ours.name == name:
                self.same(where, "values", ours.target.values, theirs["enum"])
            return
        self.same(where, "type", ours.name or ours.form,
                  {"structure": "json", "blob": "string"}.get(kind, kind))
        self.constraints(where, ours, theirs)
        if kind == "list" and ours.form == "list":
            self.type(where + "[]", ours.item, theirs["member"]["shape"])
        if kind == "map" and ours.form == "map":
            self.type(where + "{}", ours.item, theirs["value"]["shape"])
            if ours.key:
                self.type(where + "{key}", ours.key, theirs["key"]["shape"])

    def constraints(self, where, ours, theirs):
        low, high = theirs.get("min"), theirs.get("max")
        # A blob's bounds are of its bytes; a text without bounds leaves them to code.
        if theirs["type"] == "blob" and ours.min is None and ours.max is None:
            return
        counted = theirs["type"] in ("string", "list", "map")
        self.same(where, "lower bound", ours.min or (0 if counted else ours.min),
                  low or (0 if counted else low))
        if not (theirs["type"] == "integer" and high == 2**31 - 1):
            self.same(where, "upper bound", ours.max, high)
        pattern = theirs.get("pattern")
        if where in UNCHECKED_PATTERNS:
            return
        if pattern:             # a bare class: its anchors, group and count say nothing more
            pattern = re.sub(r"^\^|\$$", "", pattern)
            pattern = re.sub(r"^\((.*)\)$", r"\1", pattern)
            pattern = re.sub(r"\{\d+\}$", "+", pattern).replace("\\/", "/")
            if not ours.pattern and not CLASS.match(pattern):
                return
        self.same(where, "pattern", ours.pattern and ours.pattern.text, pattern)


def check():
    folder = os.environ.get("FAIRLEAD_MODELS")
    if not folder:
        return None
    problems = []
    for file, globs in MODELS:
        found = [path for glob in globs for path in sorted(pathlib.Path(folder).glob(glob))]
        if not found:
            problems.append(f"{folder} has no model for {file}")
            continue
        model = json.loads(found[0].read_text(encoding="utf-8"))
        problems += Comparison(apifile.load(str(ROOT / "api" / file)), model).run()
    return problems


def main():
    problems = check()
    if problems is None:
        print("FAIRLEAD_MODELS names no folder of models: nothing compared")
        return
    for problem in problems:
        print(problem)
    print(f"{len(problems)} differences from the models")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
