"""The terraform program with its aws provider, on a folder of configuration of its own."""
import json
import os
import pathlib
import shutil
import signal
import subprocess

import cluster as clusters
import pytest

HERE = pathlib.Path(__file__).resolve().parent
PROGRAM = os.environ.get("FAIRLEAD_TERRAFORM") or shutil.which("terraform")
PLUGINS = os.environ.get("FAIRLEAD_TERRAFORM_PLUGINS")


def needed():
    """Skips the test where terraform or its provider is not on the machine."""
    if not PROGRAM:
        pytest.skip("no terraform in PATH, and FAIRLEAD_TERRAFORM is not set")
    if not PLUGINS:
        pytest.skip("FAIRLEAD_TERRAFORM_PLUGINS names no folder with the provider hashicorp/aws")


class Terraform:
    """One working folder. Variables are passed with each call, and stay for the later ones."""

    def __init__(self, cluster, folder, source, **variables):
        self.folder, self.variables = pathlib.Path(folder), variables
        self.env = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "TF_IN_AUTOMATION": "1",
                    "CHECKPOINT_DISABLE": "1", "TF_CLI_ARGS": "-no-color", **cluster.env}
        for path in sorted(pathlib.Path(source).glob("*.tf")):
            shutil.copy(path, self.folder)
        self.run("init", f"-plugin-dir={PLUGINS}")

    def run(self, *argv, check=True):
        return clusters.run(PROGRAM, *argv, cwd=self.folder, env=self.env, check=check, timeout=400)

    def _told(self, variables):
        self.variables.update(variables)
        return [f"-var={name}={value}" for name, value in self.variables.items()]

    def apply(self, *argv, check=True, **variables):
        """What it printed; with check=False its errors."""
        done = self.run("apply", "-auto-approve", *argv, *self._told(variables), check=check)
        assert check or done.returncode, f"apply was to fail:\n{done.stdout}"
        # A long line is broken at 78 columns, and an error's are marked at their beginning.
        return done.stdout if check else " ".join(done.stderr.replace("│", " ").split())

    def plan(self, **variables):
        """The resources that another apply would change: {address: actions}."""
        planned = self.run("plan", "-detailed-exitcode", "-out=plan", *self._told(variables),
                           check=False)
        assert planned.returncode in (0, 2), planned.stderr
        if planned.returncode == 0:
            return {}
        shown = json.loads(self.run("show", "-json", "plan").stdout)
        return {change["address"]: change["change"]["actions"]
                for change in shown.get("resource_changes", ())
                if change["change"]["actions"] not in (["no-op"], ["read"])}

    def settled(self):
        """Asserts that what was read back is what was written, to the letter."""
        assert self.plan() == {}, self.run("show", "plan").stdout

    def output(self, name):
        return json.loads(self.run("output", "-json", name).stdout)

    def state(self, address):
        """The attributes of a resource."""
        kind, name = address.split(".")
        resources = json.loads(self.run("state", "pull").stdout)["resources"]
        return next(each["instances"][0]["attributes"] for each in resources
                    if (each["mode"], each["type"], each["name"]) == ("managed", kind, name))

    def import_again(self, address, name):
        """Forgets a resource and imports it."""
        self.run("state", "rm", address)
        self.run("import", *self._told({}), address, name)

    def destroy(self):
        self.run("destroy", "-auto-approve", *self._told({}))

    def begin_apply(self, **variables):
        """An apply that goes on meanwhile."""
        return subprocess.Popen(
            [PROGRAM, "apply", "-auto-approve", *self._told(variables)], cwd=self.folder,
            env=self.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def interrupt(process):
    """Ctrl-C; what it printed."""
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode, f"apply was to be interrupted:\n{text}"
    return text
