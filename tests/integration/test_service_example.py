"""Goal: examples/service does what its README says. Method: the README's own commands, in order, by
the stock AWS CLI."""
import os

import cluster as clusters
import services as of

EXAMPLE = clusters.ROOT / "examples" / "service"


def commands():
    """The README's lines that call the CLI and are meant to be typed as they are."""
    lines = (line.strip() for line in (EXAMPLE / "README.md").read_text().splitlines()
             if line.startswith("    aws "))
    return [line for line in lines if "…" not in line]


def test_the_readme_s_commands(cluster, services, busybox):
    cluster.load_image(busybox, "demo-tools:1")
    services.names.append("greeter")
    env = {"PATH": f"{os.path.dirname(clusters.AWS)}:{os.environ['PATH']}",
           "HOME": cluster.data_dir, "AWS_PAGER": "", **cluster.env}
    deployments, definitions = [], []
    for line in commands():
        said = clusters.run("sh", "-c", line, env=env, cwd=clusters.ROOT).stdout
        if "wait services-stable" in line:
            found = services.steady("greeter")
            deployments.append(services.latest("greeter")["status"])
            definitions.append(of.short(found["taskDefinition"]))
        if "list-tasks" in line:
            assert said.count(":task/") == 3
        if "events" in line:
            assert "rolling back to deployment" in said, said
    assert deployments == ["SUCCESSFUL", "SUCCESSFUL", "ROLLBACK_SUCCESSFUL"]
    assert definitions == ["greeter:1", "greeter:1", "greeter:1"]
    assert services.get("greeter")["status"] == "INACTIVE"
