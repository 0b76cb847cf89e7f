// What amazon-ecs-deploy-task-definition does, with the SDK that it does it with: argument 1 is the
// SDK's folder. Prints one JSON object of what it saw.
import { createRequire } from "node:module";

const ecs = createRequire(`${process.argv[2]}/`)("@aws-sdk/client-ecs");
const client = new ecs.ECSClient({});
const call = (name, input) => client.send(new ecs[`${name}Command`](input));
const patience = { client, maxWaitTime: 120, minDelay: 1, maxDelay: 2 };
const where = { cluster: "default", services: ["clients-js"] };

function definition(script, image = "busybox:1") {
  const command = ["sh", "-c", script];
  return { family: "clients-js",
           containerDefinitions: [{ name: "main", image, memory: 16, stopTimeout: 2, command }] };
}

const idle = "trap 'exit 0' TERM; sleep 1000 & wait $!";

async function register(wanted) {
  return (await call("RegisterTaskDefinition", wanted)).taskDefinition.taskDefinitionArn;
}

async function deploy(wanted) {
  const updated = await call("UpdateService", {
    cluster: "default", service: "clients-js", taskDefinition: await register(wanted),
    forceNewDeployment: true, enableECSManagedTags: true, propagateTags: "SERVICE" });
  const { id } = updated.service.deployments.find((each) => each.status === "PRIMARY");
  await ecs.waitUntilServicesStable(patience, where);
  const { deployments } = (await call("DescribeServices", where)).services[0];
  return deployments.find((each) => each.id === id)?.rolloutState ?? "rolled back";
}

async function runTask(script) {
  const taskDefinition = await register(definition(script));
  const tasks = (await call("RunTask", { taskDefinition })).tasks.map((each) => each.taskArn);
  await ecs.waitUntilTasksStopped(patience, { tasks });
  return (await call("DescribeTasks", { tasks })).tasks[0].containers[0].exitCode;
}

async function countTasks() {
  let count = 0;
  const pages = ecs.paginateListTasks({ client, pageSize: 1 }, { serviceName: "clients-js" });
  for await (const page of pages) count += page.taskArns.length;
  return count;
}

async function refused() {
  try {
    await call("UpdateService", { service: "nobody" });
  } catch (error) {
    return error instanceof ecs.ServiceNotFoundException ? error.message : `${error}`;
  }
}

await call("CreateService", {
  serviceName: "clients-js", taskDefinition: await register(definition(idle)), desiredCount: 2,
  deploymentConfiguration: { deploymentCircuitBreaker: { enable: true, rollback: true } } });
const seen = { created: (await ecs.waitUntilServicesStable(patience, where)).state };
seen.good = await deploy(definition(`true; ${idle}`));
seen.bad = await deploy(definition(idle, "no-such-image:1"));
seen.tasks = await countTasks();
seen.exit = await runTask("exit 3");
seen.refused = await refused();
await call("DeleteService", { service: "clients-js", force: true });
seen.deleted = (await ecs.waitUntilServicesInactive(patience, where)).state;
console.log(JSON.stringify(seen));
