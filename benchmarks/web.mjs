// Opens the built page in headless Chromium (software rendering) and times it. Prints one JSON object.
// Usage: node web.mjs <python> <plant_server.py> <web folder> <work folder> <machines> <repeats>
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { join } from "node:path";

const [python, program, web, folder, machines, repeats] = process.argv.slice(2);
const { chromium } = createRequire(join(web, "package.json"))("playwright-core");
const port = await new Promise((resolve) => {
  const probe = createServer().listen(0, "127.0.0.1", () => {
    const { port } = probe.address();
    probe.close(() => resolve(port));
  });
});
const url = `http://127.0.0.1:${port}`;
const size = machines === "example" ? [] : ["--machines", machines];
const server = spawn(python, [program, "--port", String(port), ...size], { stdio: "inherit" });
while (!(await fetch(url).catch(() => null))?.ok) await new Promise((resolve) => setTimeout(resolve, 50));
const context = await chromium.launchPersistentContext(join(folder, `profile-${machines}`), {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true, viewport: { width: 1280, height: 800 },
  args: ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

/** Times each large event from its arrival to the picture that is complete on the graphics card. */
const timed = () => {
  window.times = [];
  const Plain = window.WebSocket;
  window.WebSocket = class extends Plain {
    constructor(...given) {
      super(...given);
      this.addEventListener("message", ({ data }) => {
        if (data.length < 20_000 || !window.timing) return;
        const arrived = performance.now();
        window.twinloom.drawn().then((at) => window.times.push(at - arrived));
      });
    }
  };
};
const open = async () => {
  const page = await context.newPage();
  await page.addInitScript(timed);
  const begun = performance.now();
  await page.goto(`${url}/#by=value:temperature`);
  await page.waitForFunction(() => document.documentElement.dataset.ready === "true", null, { timeout: 120_000, polling: 20 });
  await page.evaluate(() => window.twinloom.drawn());
  return [page, performance.now() - begun];
};

const first = [];
for (let i = 0; i < (machines === "example" ? 3 : 0); i++) {
  const [page, ms] = await open();
  first.push(ms);
  await page.close();
}
const [page] = await open();
await page.evaluate(() => { window.timing = true; });
for (let step = 0; step < Number(repeats); step++) {
  await fetch(`${url}/control`, { method: "POST", body: JSON.stringify({ do: "all", step }) });
  await page.waitForFunction((count) => window.times.length > count, step, { timeout: 60_000 });
}
const facts = await page.evaluate(() => ({ times: window.times, triangles: window.twinloom.triangles, software: window.twinloom.software }));
await context.close();
server.kill("SIGKILL");
console.log(JSON.stringify({ ...facts, first }));
