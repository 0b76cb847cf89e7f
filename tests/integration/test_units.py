"""Goal: the systemd units keep their promises. Method: the files as systemd reads them; where its own
checker is installed, that too, on units whose program exists."""
import configparser
import pathlib
import shutil

import cluster as clusters
import pytest

PACKAGING = pathlib.Path(__file__).resolve().parents[2] / "packaging"


def unit(name):
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(PACKAGING / name)
    return parser


def test_the_agent_s_unit_leaves_containers_alone_and_answers_to_ecs_s_name():
    agent = unit("fairlead-agent.service")
    assert agent["Service"]["KillMode"] == "process"
    assert agent["Service"]["Delegate"] == "yes"
    assert agent["Install"]["Alias"] == "ecs.service"
    assert agent["Service"]["Restart"] == "always"


@pytest.mark.parametrize("name", ["fairlead-agent.service", "fairlead-server.service"])
def test_units_start_commands_that_exist(name):
    words = unit(name)["Service"]["ExecStart"].split()
    assert words[0] == "/usr/bin/fairlead"
    done = clusters.run(clusters.FAIRLEAD, words[1], "--help")
    assert all(word in done.stdout for word in words if word.startswith("--"))


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
@pytest.mark.parametrize("name", ["fairlead-agent.service", "fairlead-server.service"])
def test_systemd_accepts_the_units(name, tmp_path):
    text = (PACKAGING / name).read_text().replace("/usr/bin/fairlead", clusters.FAIRLEAD)
    (tmp_path / name).write_text(text)
    done = clusters.run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no",
                        str(tmp_path / name), check=False)
    assert name not in done.stderr, done.stderr
