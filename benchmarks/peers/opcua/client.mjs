// The peer: node-opcua's client, `sessions` sessions of `items` monitored items each, state update included.
// usage: node client.mjs '{"endpoint": "opc.tcp://...", "sessions": 1, "items": 940, "seconds": 5, "warmUpS": 2}'
// Prints one JSON line: values, cpu_us (user + system of this process), us_per_value.
import { OPCUAClient, AttributeIds, TimestampsToReturn, ClientSubscription, ClientMonitoredItemGroup } from "node-opcua";

const options = { sessions: 1, items: 940, seconds: 5, warmUpS: 2, perMachine: 20, ...JSON.parse(process.argv[2]) };
const state = new Float64Array(options.sessions * options.items);
const times = new Float64Array(state.length);
let values = 0;

const nodes = [];
for (let n = 0; n < state.length; n++) {
  const machine = String(1 + Math.floor(n / options.perMachine)).padStart(2, "0");
  const value = n % options.perMachine;
  nodes.push(`ns=2;s=line-1/cnc-${machine}/spindle/${value === 0 ? "speed" : `value_${value}`}`);
}

const closing = [];
for (let s = 0; s < options.sessions; s++) {
  const client = OPCUAClient.create({ endpointMustExist: false, connectionStrategy: { maxRetry: 1 }, keepSessionAlive: false });
  await client.connect(options.endpoint);
  const session = await client.createSession();
  const subscription = ClientSubscription.create(session, {
    requestedPublishingInterval: 100, requestedMaxKeepAliveCount: 10, requestedLifetimeCount: 100,
    maxNotificationsPerPublish: 0, publishingEnabled: true,
  });
  const first = s * options.items;
  const group = ClientMonitoredItemGroup.create(
    subscription,
    nodes.slice(first, first + options.items).map((nodeId) => ({ nodeId, attributeId: AttributeIds.Value })),
    { samplingInterval: 100, discardOldest: true, queueSize: 10 },
    TimestampsToReturn.Both,
  );
  group.on("changed", (_item, dataValue, index) => {
    state[first + index] = dataValue.value.value;
    times[first + index] = dataValue.sourceTimestamp.getTime();
    values += 1;
  });
  await new Promise((done) => group.once("initialized", done));
  closing.push(client);
}

await new Promise((done) => setTimeout(done, options.warmUpS * 1000));
const before = process.cpuUsage();
const counted = values;
await new Promise((done) => setTimeout(done, options.seconds * 1000));
const used = process.cpuUsage(before);
const received = values - counted;
const cpu = used.user + used.system;
console.log(JSON.stringify({ values: received, cpu_us: cpu, us_per_value: cpu / received }));
process.exit(0);
