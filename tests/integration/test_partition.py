"""Hosts that are cut off from their server while tasks run, begin, end and are told to end on them.
Method: three agents in network namespaces; one loses its link, another one's packets vanish without a
word. FAIRLEAD_PARTITION_S says for how long: seconds here, an hour by `make nightly-partition`."""
import datetime
import json
import os
import time

import cluster as clusters
import pytest
from test_hosts import a_fleet

PARTITION_S = int(os.environ.get("FAIRLEAD_PARTITION_S", "12"))
HEARTBEAT_S = 30 if PARTITION_S >= 600 else 2
# After its last try, a host comes back within the longest pause and the time of one try.
RETURN_S = 240
SILENCE = """table inet silence {
    chain enter { type filter hook input priority -500; iifname "eth0" drop; }
    chain leave { type filter hook output priority -500; oifname "eth0" drop; }
}"""
GROUP = "/partition"


def counting(end):
    """A line a second: a number and the container's own clock. end: in shell's words, by the
    number in $n; it is given SIGTERM's default otherwise."""
    return clusters.sh("trap 'echo told; exit 3' TERM; n=0; while :; do echo $n $(date +%s); "
                       f"n=$((n+1)); {end} sleep 1; done", stopTimeout=5,
                       logConfiguration=clusters.awslogs(GROUP))


class Cut:
    """A host that is cut off, with what runs on it."""

    def __init__(self, fleet, host, cut, mend):
        self.fleet, self.host, self.cut, self.mend = fleet, host, cut, mend
        self.tasks = {}

    def run(self, name, end=":;"):
        made = self.fleet.cluster
        self.tasks[name] = made.start(made.register(counting(end)), placementConstraints=[
            {"type": "memberOf", "expression": f"attribute:stack == {self.host.name}"}])
        return self

    def task(self, name):
        return self.fleet.cluster.task(self.tasks[name])

    def messages(self, name):
        return self.events(name, "message")

    def events(self, name, member):
        task_id = self.tasks[name].rsplit("/", 1)[1]
        pages = self.fleet.cluster.logs.get_paginator("filter_log_events").paginate(
            logGroupName=GROUP, logStreamNames=[f"t/main/{task_id}"])
        return [event[member] for page in pages for event in page["events"]]

    def numbers(self, name):
        return [int(line.split()[0]) for line in self.messages(name) if line != "told"]


@pytest.fixture
def fleet(busybox):
    with a_fleet(busybox, "--heartbeat", str(HEARTBEAT_S)) as made:
        for name in ("unplugged", "silenced", "witness"):
            made.add(name, "--attribute", f"stack={name}").join()
        yield made


def cut_off(fleet):
    unplugged, silenced, witness = fleet.hosts
    return [Cut(fleet, unplugged, unplugged.cut, unplugged.mend),
            Cut(fleet, silenced, lambda: silenced.run("nft", "-f", "-", input=SILENCE),
                lambda: silenced.run("nft", "delete", "table", "inet", "silence"))], \
        Cut(fleet, witness, None, None)


def all_tasks(fleet):
    """Those that are to run and those that are not."""
    paginator = fleet.cluster.ecs.get_paginator("list_tasks")
    return {arn for status in ("RUNNING", "STOPPED")
            for page in paginator.paginate(desiredStatus=status) for arn in page["taskArns"]}


def assert_all_is_kept(fleet, cuts, before):
    """What the server says during the partition: nothing new, nothing gone."""
    assert all_tasks(fleet) == before
    for each in cuts:
        assert not each.host.connected() and each.host.described()["status"] == "ACTIVE"
        assert each.task("lasting")["lastStatus"] == "RUNNING"
        assert each.task("ending")["lastStatus"] == "RUNNING"
        assert each.host.process.poll() is None


def assert_ended_in_time(task, code, began, ended):
    (main,) = task["containers"]
    assert main["exitCode"] == code, task
    assert task["stopCode"] == "EssentialContainerExited", task
    assert began <= task["executionStoppedAt"] <= ended, (began, task["executionStoppedAt"], ended)
    assert task["stoppedAt"] >= task["executionStoppedAt"] >= task["startedAt"]


def assert_log_is_whole(each, name):
    """Each number once and in order, at the time at which it was written."""
    numbers = each.numbers(name)
    assert numbers == list(range(len(numbers))), numbers
    for message, millis in zip(each.messages(name), each.events(name, "timestamp")):
        if message != "told":
            assert abs(int(message.split()[1]) - millis / 1000) < 3, (message, millis)
    return len(numbers)


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def assert_nothing_is_placed_there(fleet, each):
    answer = fleet.cluster.ecs.run_task(
        taskDefinition=each.task("lasting")["taskDefinitionArn"], placementConstraints=[
            {"type": "memberOf", "expression": f"attribute:stack == {each.host.name}"}])
    reasons = {failure["arn"]: failure["reason"] for failure in answer["failures"]}
    assert not answer["tasks"] and reasons[each.host.arn] == "AGENT", answer


def lose(fleet, cuts):
    """Cuts them off, and gives them something to do before the server knows: how long that took."""
    began = time.monotonic()
    for each in cuts:
        each.cut()
    for each in cuts:
        each.run("late")
    clusters.until(lambda: not any(each.host.connected() for each in cuts), 4 * HEARTBEAT_S,
                   "the loss")
    lost_s = time.monotonic() - began
    assert lost_s < 2 * HEARTBEAT_S + 1  # two heartbeats, and the calls that ask
    for each in cuts:
        fleet.cluster.ecs.stop_task(task=each.tasks["unwanted"])
        assert_nothing_is_placed_there(fleet, each)
    return round(lost_s, 1)


def find_again(cuts):
    """Mends everything: how long each host took to return."""
    began, back = time.monotonic(), {}
    for each in cuts:
        each.mend()
    for each in cuts:
        clusters.until(each.host.connected, RETURN_S, f"{each.host.name}'s return")
        back[each.host.name] = round(time.monotonic() - began, 1)
    return back


def assert_all_is_told(fleet, each, began, mended):
    """What happened on the host meanwhile, and what was wanted of it; and it works again."""
    made = fleet.cluster
    assert_ended_in_time(made.wait(each.tasks["ending"], timeout=60), 7, began, mended)
    assert made.wait(each.tasks["late"], "RUNNING", timeout=60)
    unwanted = made.wait(each.tasks["unwanted"], timeout=60)
    assert unwanted["containers"][0]["exitCode"] == 3
    assert unwanted["stopCode"] == "UserInitiated"
    assert unwanted["executionStoppedAt"] >= mended
    each.run("after")
    made.wait(each.tasks["after"], "RUNNING", timeout=60)
    clusters.until(lambda: each.messages("after"), what="its log")


def start_service(fleet):
    """One task on each host."""
    fleet.cluster.ecs.create_service(
        serviceName="everywhere", taskDefinition=fleet.cluster.register(clusters.idle()),
        desiredCount=3, placementConstraints=[{"type": "distinctInstance"}],
        deploymentConfiguration={"minimumHealthyPercent": 0, "maximumPercent": 100})

    def counts():
        (service,) = fleet.cluster.ecs.describe_services(services=["everywhere"])["services"]
        return service["runningCount"], service["pendingCount"]
    clusters.until(lambda: counts() == (3, 0), 60, "the service")
    return counts


def test_a_partition_changes_nothing_that_runs(fleet):
    cuts, witness = cut_off(fleet)
    service = start_service(fleet)
    everybody = [*cuts, witness]
    end = f"[ $n -lt {PARTITION_S // 2} ] || exit 7;"
    for each in everybody:
        each.run("lasting").run("unwanted").run("ending", end)
    for arn in all_tasks(fleet):
        fleet.cluster.wait(arn, "RUNNING")
    started = {arn: fleet.cluster.task(arn)["startedAt"] for arn in all_tasks(fleet)}
    cut_at, began = time.monotonic(), now()
    lost_s, before = lose(fleet, cuts), all_tasks(fleet)
    while time.monotonic() - cut_at < PARTITION_S:
        assert_all_is_kept(fleet, cuts, before)
        assert service() == (3, 0)
        time.sleep(max(1, min(30, PARTITION_S / 10)))
    assert_ended_in_time(fleet.cluster.wait(witness.tasks["ending"]), 7, began, now())
    assert_all_is_kept(fleet, cuts, before)
    mended, back, lines = now(), find_again(cuts), {}
    assert service() == (3, 0)
    for each in cuts:
        assert_all_is_told(fleet, each, began, mended)
    for each in everybody:
        lasting = each.task("lasting")
        assert lasting["lastStatus"] == "RUNNING"
        assert lasting["startedAt"] == started[lasting["taskArn"]]
        clusters.until(lambda e=each: len(e.numbers("lasting")) > PARTITION_S * 0.8, 60, "the log")
        lines[each.host.name] = {name: assert_log_is_whole(each, name) for name in each.tasks}
        assert lines[each.host.name]["ending"] == PARTITION_S // 2
    fleet.cluster.ecs.delete_service(service="everywhere", force=True)
    print(json.dumps({"partition_s": PARTITION_S, "seen_lost_after_s": lost_s,
                      "back_after_s": back, "lines": lines}))
    fleet.cluster.stop_all()
