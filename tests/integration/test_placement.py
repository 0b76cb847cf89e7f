"""Goal: tasks land where ECS would put them, or the answer says why not. Method: hosts that exist on
the wire only, in clusters of their own."""
import json

import botocore.exceptions
import cluster as clusters
import pytest
from fake_agent import FakeAgent


@pytest.fixture
def hosts(cluster, request):
    """A function that makes hosts in a cluster of this test; they go away with it."""
    name = "p-" + "".join(c if c.isalnum() else "-" for c in request.node.name)[:60]
    cluster.ecs.create_cluster(clusterName=name)
    made = []

    def make(host, **more):
        made.append(FakeAgent(cluster, host, ecs_cluster=name, **more))
        return made[-1]

    make.cluster = name
    yield make
    for arn in cluster.ecs.list_tasks(cluster=name)["taskArns"]:
        cluster.ecs.stop_task(cluster=name, task=arn)
    for agent in made:
        agent.disconnect()


def definition(cluster, cpu=128, memory=64, **more):
    return cluster.register(clusters.container(cpu=cpu, memory=memory, command=["sleep", "1000"],
                                               **more.pop("container", {})), **more)


def run(cluster, hosts, task_definition, **more):
    return cluster.ecs.run_task(cluster=hosts.cluster, taskDefinition=task_definition, **more)


def places(answer):
    return [task["containerInstanceArn"] for task in answer["tasks"]]


def reasons(answer):
    return sorted(failure["reason"] for failure in answer["failures"])


def test_a_host_on_the_wire_runs_and_stops_a_task(cluster, hosts):
    hosts("one")
    arn = run(cluster, hosts, definition(cluster))["tasks"][0]["taskArn"]
    cluster.wait(arn, "RUNNING", cluster=hosts.cluster)
    cluster.ecs.stop_task(cluster=hosts.cluster, task=arn)
    assert cluster.wait(arn, cluster=hosts.cluster)["stopCode"] == "UserInitiated"


def test_no_instances_is_an_error(cluster, hosts):
    with pytest.raises(cluster.ecs.exceptions.InvalidParameterException) as refused:
        run(cluster, hosts, definition(cluster))
    assert refused.value.response["Error"]["Message"] == (
        "No Container Instances were found in your cluster.")


def test_cpu_and_memory_run_out(cluster, hosts):
    hosts("small", cpu=512, memory=256)
    by_cpu = definition(cluster, cpu=256, memory=16)
    assert len(places(run(cluster, hosts, by_cpu, count=2))) == 2
    answer = run(cluster, hosts, by_cpu)
    assert answer["tasks"] == [] and reasons(answer) == ["RESOURCE:CPU"]
    hosts("flat", cpu=4096, memory=64)
    answer = run(cluster, hosts, definition(cluster, cpu=16, memory=240))
    assert "RESOURCE:MEMORY" in reasons(answer)


def test_resources_come_back_when_a_task_stops(cluster, hosts):
    hosts("small", cpu=256)
    whole = definition(cluster, cpu=256)
    arn = run(cluster, hosts, whole)["tasks"][0]["taskArn"]
    assert run(cluster, hosts, whole)["tasks"] == []
    cluster.wait(arn, "RUNNING", cluster=hosts.cluster)
    cluster.ecs.stop_task(cluster=hosts.cluster, task=arn)
    cluster.wait(arn, cluster=hosts.cluster)
    assert len(run(cluster, hosts, whole)["tasks"]) == 1


def test_remaining_resources_are_shown(cluster, hosts):
    agent = hosts("one", cpu=1024, memory=512)
    run(cluster, hosts, definition(cluster, cpu=100, memory=50))
    found = cluster.ecs.describe_container_instances(
        cluster=hosts.cluster, containerInstances=[agent.arn])["containerInstances"][0]
    remaining = {r["name"]: r.get("integerValue") for r in found["remainingResources"]}
    registered = {r["name"]: r.get("integerValue") for r in found["registeredResources"]}
    assert (registered["CPU"], registered["MEMORY"]) == (1024, 512)
    assert (remaining["CPU"], remaining["MEMORY"]) == (924, 462)


def test_a_static_port_is_taken_once_per_host(cluster, hosts):
    hosts("one", ports=[22])
    web = definition(cluster, networkMode="bridge",
                     container={"portMappings": [{"containerPort": 80, "hostPort": 8099}]})
    assert len(places(run(cluster, hosts, web))) == 1
    answer = run(cluster, hosts, web)
    assert answer["tasks"] == [] and reasons(answer) == ["RESOURCE:PORTS"]
    reserved = definition(cluster, networkMode="bridge",
                          container={"portMappings": [{"containerPort": 22, "hostPort": 22}]})
    assert reasons(run(cluster, hosts, reserved)) == ["RESOURCE:PORTS"]
    hosts("two")
    assert len(places(run(cluster, hosts, web))) == 1


def test_a_missing_attribute_is_named(cluster, hosts):
    hosts("one")
    arn = definition(cluster, placementConstraints=[
        {"type": "memberOf", "expression": "attribute:stack == prod"}])
    answer = run(cluster, hosts, arn)
    assert answer["tasks"] == []
    assert reasons(answer) == ["MemberOf placement constraint unsatisfied."]


def test_member_of_chooses_by_attribute(cluster, hosts):
    hosts("a", attributes={"stack": "test", "ecs.instance-type": "t3.micro"})
    b = hosts("b", attributes={"stack": "prod", "ecs.instance-type": "c5.4xlarge"})
    for expression in ("attribute:ecs.instance-type == c5.4xlarge", "attribute:stack == prod",
                       "attribute:stack in [prod, stage]", "attribute:stack != test"):
        answer = run(cluster, hosts, definition(cluster), placementConstraints=[
            {"type": "memberOf", "expression": expression}])
        assert places(answer) == [b.arn], expression


def test_distinct_instance(cluster, hosts):
    hosts("a"), hosts("b")
    constraint = [{"type": "distinctInstance"}]
    arn = definition(cluster)
    answer = run(cluster, hosts, arn, count=3, placementConstraints=constraint)
    assert len(places(answer)) == 2 and len(set(places(answer))) == 2
    assert answer["failures"]


def test_spread_over_zones_then_binpack(cluster, hosts):
    agents = {}
    for zone in ("a", "b"):
        for number, memory in ((1, 512), (2, 1024)):
            agents[zone, number] = hosts(f"{zone}{number}", memory=memory, attributes={
                "ecs.availability-zone": f"us-east-1{zone}"})
    strategy = [{"type": "spread", "field": "attribute:ecs.availability-zone"},
                {"type": "binpack", "field": "memory"}]
    answer = run(cluster, hosts, definition(cluster, cpu=64, memory=64), count=4,
                 placementStrategy=strategy)
    assert sorted(places(answer)) == sorted(2 * [agents["a", 1].arn] + 2 * [agents["b", 1].arn])


def test_spread_over_instances(cluster, hosts):
    agents = [hosts(str(i)) for i in range(3)]
    answer = run(cluster, hosts, definition(cluster, cpu=16, memory=16), count=6,
                 placementStrategy=[{"type": "spread", "field": "instanceId"}])
    counts = {agent.arn: places(answer).count(agent.arn) for agent in agents}
    assert set(counts.values()) == {2}


def test_binpack_fills_the_fullest(cluster, hosts):
    hosts("large", cpu=4096)
    small = hosts("small", cpu=1024)
    answer = run(cluster, hosts, definition(cluster, cpu=64), count=5,
                 placementStrategy=[{"type": "binpack", "field": "cpu"}])
    assert set(places(answer)) == {small.arn}


def test_random_places_somewhere(cluster, hosts):
    made = {hosts(str(i)).arn for i in range(2)}
    answer = run(cluster, hosts, definition(cluster, cpu=16, memory=16), count=4,
                 placementStrategy=[{"type": "random"}])
    assert len(places(answer)) == 4 and set(places(answer)) <= made


def test_an_agent_that_is_away_gets_nothing(cluster, hosts):
    hosts("away").disconnect()
    answer = run(cluster, hosts, definition(cluster))
    assert answer["tasks"] == [] and reasons(answer) == ["AGENT"]


def test_list_container_instances_filters(cluster, hosts):
    a = hosts("a", attributes={"stack": "prod"})
    b = hosts("b", attributes={"stack": "test"})
    b.disconnect()

    def listed(expression):
        return cluster.ecs.list_container_instances(
            cluster=hosts.cluster, filter=expression)["containerInstanceArns"]
    assert listed("agentConnected==true") == [a.arn]
    assert listed("attribute:stack == test") == [b.arn]


def test_a_bad_expression_is_refused(cluster, hosts):
    hosts("one")
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        run(cluster, hosts, definition(cluster), placementConstraints=[
            {"type": "memberOf", "expression": "attribute:stack === ("}])
    assert refused.value.response["Error"]["Code"] in ("InvalidParameterException",
                                                       "ClientException")


def test_groups_attract_and_repel(cluster, hosts):
    a, b = hosts("a"), hosts("b")
    arn = definition(cluster, cpu=16, memory=16)
    home = places(run(cluster, hosts, arn, group="database"))[0]
    other = b.arn if home == a.arn else a.arn
    for expression, where in (("task:group == database", home),
                              ("not(task:group == database)", other),
                              ("task:group in [database, cache]", home)):
        answer = run(cluster, hosts, arn, group="g", placementConstraints=[
            {"type": "memberOf", "expression": expression}])
        assert places(answer) == [where], expression
    listed = cluster.ecs.list_container_instances(
        cluster=hosts.cluster, filter="task:group == database and registeredAt > 2020-01-01")
    assert listed["containerInstanceArns"] == [home]


def test_start_task_starts_where_it_is_told_to(cluster, hosts):
    a, b = hosts("a"), hosts("b", cpu=64)
    answer = cluster.ecs.start_task(
        cluster=hosts.cluster, taskDefinition=definition(cluster), group="g",
        containerInstances=[a.arn, b.arn, a.arn.rsplit("/", 1)[1], "nothing"])
    assert places(answer) == [a.arn, a.arn]
    assert reasons(answer) == ["MISSING", "RESOURCE:CPU"]
    for task in answer["tasks"]:
        cluster.wait(task["taskArn"], "RUNNING", cluster=hosts.cluster)


def test_explain_says_what_is_missing(cluster, hosts):
    hosts("a", memory=100), hosts("b", memory=200)
    hosts("c").disconnect()
    arn = definition(cluster, cpu=64, memory=256)
    name = arn.rsplit("/", 1)[1]
    text = cluster.fairlead("explain", "definition", name, "--cluster", hosts.cluster).stdout
    assert "0 of 3 instances can take it" in text
    assert "2 instances, RESOURCE:MEMORY: the closest, " in text
    assert "lacks 56 MiB (200 of 200 are free)" in text and "1 instance, AGENT: " in text
    found = json.loads(cluster.fairlead("explain", "definition", arn, "--json", "--cluster",
                                        hosts.cluster).stdout)
    assert (found["instances"], found["fitting"]) == (3, 0)
    assert [group["reason"] for group in found["excluded"]] == ["RESOURCE:MEMORY", "AGENT"]
    hosts("d")
    task = run(cluster, hosts, arn)["tasks"][0]["taskArn"]
    text = cluster.fairlead("explain", "task", task, "--cluster", hosts.cluster).stdout
    assert text.startswith("task " + task.rsplit("/", 1)[1][:8])
    refused = cluster.fairlead("explain", "definition", "nothing", check=False)
    assert refused.returncode == 1 and "TaskDefinition not found" in refused.stderr


def test_explain_takes_the_call_itself(cluster, hosts, tmp_path):
    hosts("a"), hosts("b", memory=100)
    arn = definition(cluster, cpu=64, memory=256)
    call = {"cluster": hosts.cluster, "taskDefinition": arn, "count": 2, "group": "mine",
            "placementConstraints": [{"type": "distinctInstance"}]}
    path = tmp_path / "call.json"
    path.write_text(json.dumps(call))
    text = cluster.fairlead("explain", "run-task", "--cli-input-json", f"file://{path}").stdout
    assert text.startswith("the call runs 2 tasks of group mine, each on its own instance")
    assert "1 of 2 instances can take it" in text
    answer = cluster.ecs.run_task(**call)
    assert len(answer["tasks"]) == 1 and len(answer["failures"]) == 2
    found = json.loads(cluster.fairlead("explain", "run-task", "--json", "--cli-input-json",
                                        str(path)).stdout)
    assert [group["reason"] for group in found["excluded"]] == [
        "DistinctInstance placement constraint unsatisfied.", "RESOURCE:MEMORY"]
    call["count"] = 11
    refused = cluster.fairlead("explain", "run-task", "--cli-input-json", json.dumps(call),
                               check=False)
    assert refused.returncode == 1 and "count should be between 1 and 10." in refused.stderr
    assert cluster.fairlead("explain", "run-task", check=False).returncode == 2


def test_gpus_are_handed_out_by_id(cluster, hosts):
    host = hosts("a", gpus=["GPU-0", "GPU-1"])
    hosts("b")
    arn = definition(cluster, container={
        "resourceRequirements": [{"type": "GPU", "value": "1"}]})
    first, second = (run(cluster, hosts, arn)["tasks"][0] for _ in range(2))
    assert [task["containers"][0]["gpuIds"] for task in (first, second)] == [["GPU-0"], ["GPU-1"]]
    answer = run(cluster, hosts, arn)
    assert sorted(reasons(answer)) == ["RESOURCE:GPU", "RESOURCE:GPU"]
    shown = cluster.ecs.describe_container_instances(
        cluster=hosts.cluster, containerInstances=[host.arn])["containerInstances"][0]
    left = {r["name"]: r.get("stringSetValue") for r in shown["remainingResources"]}
    assert left["GPU"] == []
