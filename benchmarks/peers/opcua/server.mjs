// An OPC UA server that the project did not write: node-opcua, with the address space of the CNC example.
// usage: node server.mjs '{"port": 48500, "machines": 47, "values": 20, "periodMs": 100}'
// Options: history (samples kept per value), users ({name: password}), allowAnonymous, certificates (folder),
// policies (names), alarms. Prints one line when it listens; ends on SIGTERM.
import {
  OPCUAServer, OPCUACertificateManager, Variant, DataType, StatusCodes, SecurityPolicy, MessageSecurityMode,
  coerceLocalizedText, makeAccessLevelFlag, standardUnits,
} from "node-opcua";

const options = {
  port: 48500, machines: 2, values: 20, periodMs: 100, history: 0, users: null, allowAnonymous: true,
  certificates: null, policies: ["None"], alarms: false, ...JSON.parse(process.argv[2] ?? "{}"),
};
const URI = "urn:twinloom:simulator:cnc";

const settings = {
  port: options.port,
  host: "127.0.0.1",
  hostname: "127.0.0.1",
  allowAnonymous: options.allowAnonymous,
  maxConnectionsPerEndpoint: 400,
  serverCapabilities: { maxSessions: 400 },
  securityPolicies: options.policies.map((name) => SecurityPolicy[name]),
  securityModes: options.policies.every((name) => name === "None")
    ? [MessageSecurityMode.None]
    : [...(options.policies.includes("None") ? [MessageSecurityMode.None] : []),
       MessageSecurityMode.Sign, MessageSecurityMode.SignAndEncrypt],
  serverInfo: { applicationUri: "urn:twinloom:peer:node-opcua" },
};
if (options.users) {
  settings.userManager = { isValidUser: (name, password) => options.users[name] === password };
}
if (options.certificates) {
  settings.serverCertificateManager = new OPCUACertificateManager({
    rootFolder: options.certificates, automaticallyAcceptUnknownCertificate: true,
  });
}
const server = new OPCUAServer(settings);
await server.initialize();
const space = server.engine.addressSpace;
const ns = space.registerNamespace(URI);

const line = ns.addObject({ organizedBy: space.rootFolder.objects, browseName: "line-1", nodeId: "s=line-1" });
const variables = [];
const texts = [];
for (let m = 1; m <= options.machines; m++) {
  const name = `cnc-${String(m).padStart(2, "0")}`;
  const machine = ns.addObject({ organizedBy: line, browseName: name, nodeId: `s=line-1/${name}` });
  const spindle = ns.addObject({ componentOf: machine, browseName: "spindle", nodeId: `s=line-1/${name}/spindle` });
  for (let v = 0; v < options.values; v++) {
    const speed = v === 0;
    const variable = ns.addAnalogDataItem({
      componentOf: spindle, browseName: speed ? "speed" : `value_${v}`, nodeId: `s=line-1/${name}/spindle/${speed ? "speed" : `value_${v}`}`,
      dataType: "Double", engineeringUnitsRange: { low: 0, high: 100000 },
      engineeringUnits: speed ? standardUnits.revolution_per_minute ?? standardUnits.hertz : standardUnits.degree_celsius,
      accessLevel: options.history ? makeAccessLevelFlag("CurrentRead | CurrentWrite | HistoryRead") : undefined,
      minimumSamplingInterval: 10,
    });
    variable.setValueFromSource({ dataType: DataType.Double, value: v });
    if (options.history) {
      space.installHistoricalDataNode(variable, { maxOnlineValues: options.history });
    }
    variables.push(variable);
  }
  const controller = ns.addObject({ componentOf: machine, browseName: "controller", nodeId: `s=line-1/${name}/controller` });
  const mode = ns.addVariable({
    componentOf: controller, browseName: "operating_mode", nodeId: `s=line-1/${name}/controller/operating_mode`, dataType: "String",
    value: new Variant({ dataType: DataType.String, value: "automatic" }),
  });
  texts.push(mode);
  let override = 100;
  ns.addVariable({
    componentOf: controller, browseName: "feed_override", nodeId: `s=line-1/${name}/controller/feed_override`, dataType: "Double",
    minimumSamplingInterval: 50,
    value: {
      get: () => new Variant({ dataType: DataType.Double, value: override }),
      set: (variant) => {
        if (variant.value < 0 || variant.value > 200) return StatusCodes.BadOutOfRange;
        override = variant.value;
        return StatusCodes.Good;
      },
    },
  });
  const reset = ns.addMethod(controller, {
    browseName: "reset", nodeId: `s=line-1/${name}/controller/reset`,
    inputArguments: [{ name: "reason", dataType: DataType.String, description: coerceLocalizedText("why") }],
    outputArguments: [{ name: "accepted", dataType: DataType.Boolean, description: coerceLocalizedText("done") }],
  });
  reset.bindMethod((input, _context, callback) => callback(null, {
    statusCode: StatusCodes.Good, outputArguments: [{ dataType: DataType.Boolean, value: input[0].value !== "" }],
  }));
}

if (options.alarms) {
  space.installAlarmsAndConditionsService();
  // A pressure with a limit alarm: writing above 90 raises it, below 80 ends it.
  const machine = space.findNode(`ns=${ns.index};s=line-1/cnc-01`);
  machine.setEventNotifier(1);
  const pressure = ns.addVariable({
    componentOf: machine, browseName: "pressure", nodeId: "s=line-1/cnc-01/pressure", dataType: "Double",
    eventSourceOf: machine, minimumSamplingInterval: 50, value: new Variant({ dataType: DataType.Double, value: 50 }),
  });
  server.engine.addressSpace.rootFolder.objects.server.addReference({ referenceType: "HasNotifier", nodeId: machine });
  ns.instantiateExclusiveLimitAlarm("ExclusiveLimitAlarmType", {
    browseName: "PressureHigh", conditionSource: pressure, componentOf: machine, conditionName: "PressureHigh",
    inputNode: pressure, highHighLimit: 95, highLimit: 90, lowLimit: -90, lowLowLimit: -95,
  });
}

await server.start();
console.log(`listening opc.tcp://127.0.0.1:${options.port}`);

let tick = 0;
const timer = setInterval(() => {
  tick += 1;
  for (let i = 0; i < variables.length; i++) {
    variables[i].setValueFromSource({ dataType: DataType.Double, value: tick + i / 1000 });
  }
  if (tick % 20 === 0) {
    for (const mode of texts) {
      mode.setValueFromSource({ dataType: DataType.String, value: tick % 40 === 0 ? "automatic" : "idle" });
    }
  }
}, options.periodMs);

process.on("SIGTERM", async () => {
  clearInterval(timer);
  await server.shutdown(100);
  process.exit(0);
});
