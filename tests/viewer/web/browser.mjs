// Drives the built page in a real headless Chromium against plant_server.py. Prints one JSON line a check: {name, ok, error}.
// Usage: node browser.mjs <python> <work folder>
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const require = createRequire(join(here, "../../../viewer/web/package.json"));
const { chromium } = require("playwright-core");
const [python, folder] = process.argv.slice(2);
const DEADLINE = { timeout: 12_000 };
const SPINDLE = "toulouse/line-2/cnc-12/spindle";
const MACHINE = "toulouse/line-2/cnc-12";
const started = new Set();

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

async function serve(port, ...options) {
  const child = spawn(python, [join(here, "plant_server.py"), "--port", String(port), ...options], { stdio: ["ignore", "inherit", "inherit"] });
  started.add(child);
  const until = Date.now() + 20_000;
  for (;;) {
    const answer = await fetch(`http://127.0.0.1:${port}/`).catch(() => null);
    if (answer?.ok) return child;
    if (child.exitCode !== null || Date.now() > until) throw new Error("plant_server.py does not answer");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function kill(child) {
  started.delete(child);
  return new Promise((resolve) => {
    child.once("exit", resolve);
    child.kill("SIGKILL");
  });
}

function assert(condition, text) {
  if (!condition) throw new Error(text);
}

const equal = (found, wanted, what) => assert(JSON.stringify(found) === JSON.stringify(wanted), `${what}: ${JSON.stringify(found)}, wanted ${JSON.stringify(wanted)}`);

const port = await freePort();
const url = `http://127.0.0.1:${port}`;
let server = await serve(port);
const control = async (body, base = url) => {
  const answer = await fetch(`${base}/control`, { method: "POST", body: JSON.stringify(body) });
  assert(answer.ok, `control answered ${answer.status}`);
  return answer.json();
};

const context = await chromium.launchPersistentContext(join(folder, "profile"), {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  viewport: { width: 1280, height: 800 },
  colorScheme: "dark",
  reducedMotion: "reduce",
});

async function openPage(address, size = { width: 1280, height: 800 }) {
  const page = await context.newPage();
  page.trouble = [];
  page.hosts = new Set();
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && page.trouble.push(message.text()));
  page.on("pageerror", (error) => page.trouble.push(String(error)));
  page.on("request", (request) => page.hosts.add(new URL(request.url()).host));
  page.on("websocket", (socket) => page.hosts.add(new URL(socket.url()).host));
  await page.addInitScript(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
  });
  await page.setViewportSize(size);
  await page.goto(address);
  return page;
}

const ready = (page) => page.waitForFunction(() => document.documentElement.dataset.ready === "true" && window.twinloom.state === "live", null, DEADLINE);
const until = (page, predicate, argument) => page.waitForFunction(predicate, argument, { ...DEADLINE, polling: 30 });

/** Remembers the picture of the canvas; `changed` compares with it. */
const remember = (page, name) =>
  page.evaluate(async (name) => {
    await window.twinloom.drawn();
    const canvas = document.getElementById("scene");
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    window.pictures ??= {};
    window.pictures[name] = copy.getImageData(0, 0, canvas.width, canvas.height);
  }, name);

/** Number of pixels that differ between two pictures, inside and outside a rectangle. */
const changed = (page, before, after, box) =>
  page.evaluate(([before, after, box]) => {
    const [a, b] = [window.pictures[before], window.pictures[after]];
    let inside = 0;
    let outside = 0;
    for (let i = 0; i < a.data.length; i += 4) {
      if (a.data[i] === b.data[i] && a.data[i + 1] === b.data[i + 1] && a.data[i + 2] === b.data[i + 2]) continue;
      const x = (i / 4) % a.width;
      const y = Math.floor(i / 4 / a.width);
      if (box && x >= box.left - 2 && x <= box.right + 2 && y >= box.top - 2 && y <= box.bottom + 2) inside++;
      else outside++;
    }
    return { inside, outside };
  }, [before, after, box ?? null]);

const checks = [];
const check = (name, run) => checks.push({ name, run });

let page;

check("the plant is drawn under the strict policy without a console error or a request elsewhere", async () => {
  const begun = Date.now();
  page = await openPage(url);
  await ready(page);
  await page.evaluate(() => window.twinloom.drawn());
  process.stderr.write(`first picture after ${Date.now() - begun} ms\n`);
  const answer = await page.request.get(url);
  equal(answer.headers()["content-security-policy"], "default-src 'self'", "policy");
  equal(await page.evaluate(() => window.violations), [], "violations");
  equal(page.trouble, [], "console");
  equal([...page.hosts], [`127.0.0.1:${port}`], "hosts");
  equal(await page.evaluate(() => window.twinloom.problems), [], "scene problems");
  assert((await page.evaluate(() => window.twinloom.triangles)) > 50_000, "the scene of the server is not shown");
});

check("nothing is drawn while nothing changes", async () => {
  const count = () => page.evaluate(() => window.twinloom.frames);
  await page.evaluate(() => window.twinloom.drawn());
  const before = await count();
  await control({ do: "values", values: { [SPINDLE]: { speed: 8111 } } });
  await until(page, (id) => window.twinloom.value(id, "speed") === 8111, SPINDLE);
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  equal(await count(), before, "frames after a value that colours nothing");
});

check("a value that breaks a rule changes pixels of its machine and none elsewhere", async () => {
  const box = await page.evaluate((id) => window.twinloom.outline(id), MACHINE);
  await remember(page, "well");
  await control({ do: "rul", twin: SPINDLE, days: 6.2 });
  await page.getByRole("button", { name: "CNC 12 · Spindle 6.2 d left" }).waitFor(DEADLINE);
  await remember(page, "sick");
  const { inside, outside } = await changed(page, "well", "sick", box);
  assert(inside > 60, `only ${inside} pixels changed`);
  equal(outside, 0, "pixels changed elsewhere");
  const legend = await page.locator("#legend").innerText();
  assert(/Critical: <\s14\sd/.test(legend) && /75\s°C/.test(legend), `legend: ${legend}`);
  await control({ do: "rul", twin: SPINDLE, days: 180 });
  await until(page, () => document.querySelectorAll(".badge").length === 0);
  await remember(page, "healed");
  equal(await changed(page, "well", "healed"), { inside: 0, outside: 0 }, "pixels after healing");
});

check("stale and bad quality look different from healthy and from each other", async () => {
  const pump = "derby/line-1/cnc-34/coolant-pump";
  const box = await page.evaluate((id) => window.twinloom.outline(id), pump);
  await remember(page, "fresh");
  await control({ do: "values", values: { [pump]: { pressure: 0 } }, quality: "BAD" });
  await until(page, (id) => window.twinloom.value(id, "pressure") === 0, pump);
  await remember(page, "bad");
  const bad = await changed(page, "fresh", "bad", box);
  await control({ do: "values", values: { [pump]: { pressure: 61 } } });
  await control({ do: "stale", twin: pump, stale: true });
  await until(page, (id) => window.twinloom.value(id, "pressure") === 61, pump);
  await page.waitForResponse((response) => response.url().endsWith("/graphql"), DEADLINE).catch(() => {});
  await until(page, async () => { await window.twinloom.drawn(); return true; });
  await remember(page, "stale");
  const stale = await changed(page, "fresh", "stale", box);
  const both = await changed(page, "bad", "stale", box);
  assert(bad.inside > 10 && stale.inside > 10 && both.inside > 10, `pixels: bad ${bad.inside}, stale ${stale.inside}, between ${both.inside}`);
  equal([bad.outside, stale.outside], [0, 0], "pixels elsewhere");
  await control({ do: "stale", twin: pump, stale: false });
});

check("a click picks the twin that is seen there", async () => {
  for (const twin of ["toulouse/line-1/cnc-03/spindle", "hamburg/line-2/cnc-30/tool-changer", "derby/line-2/cnc-44/spindle"]) {
    await page.evaluate((id) => { location.hash = `twin=${id}`; }, twin.slice(0, twin.lastIndexOf("/")));
    await until(page, (id) => window.twinloom.selected === id, twin.slice(0, twin.lastIndexOf("/")));
    await page.evaluate(() => window.twinloom.drawn());
    const spot = await page.evaluate((id) => window.twinloom.project(id, 0.5), twin);
    equal(await page.evaluate(({ x, y }) => window.twinloom.pick(x, y), spot), twin, "pick(project(x))");
    const canvas = await page.locator("#scene").boundingBox();
    await page.mouse.click(canvas.x + spot.x, canvas.y + spot.y);
    await page.locator("#detail .twin-id", { hasText: twin }).waitFor(DEADLINE);
    equal(decodeURIComponent(new URL(page.url()).hash), `#twin=${twin}`, "address");
  }
});

check("the panel follows live values with unit, source time and a plot", async () => {
  const twin = "derby/line-2/cnc-44/spindle";
  await control({ do: "values", values: { [twin]: { speed: 7321 } } });
  const row = page.locator('[data-path="speed"]');
  await row.filter({ hasText: "7321" }).waitFor(DEADLINE);
  const text = (await row.innerText()).replace(/\s+/g, " ");
  assert(/^Speed .*\d\d:\d\d:\d\d/.test(text) && text.includes("rpm"), `row: ${text}`);
  await row.click();
  await page.locator("canvas.large").waitFor(DEADLINE);
  await until(page, () => {
    const canvas = document.querySelector("canvas.large");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((part, i) => i % 4 === 3 && part > 0).length > 400;
  });
  await page.getByRole("button", { name: "Colour the plant by this" }).click();
  equal(await page.locator("#colour-by").inputValue(), "value:speed", "coloured by");
  assert((await page.locator("#legend").innerText()).includes("[rpm]"), "the legend has no unit");
  await page.locator("#colour-by").selectOption("condition");
  await page.keyboard.press("Escape");
});

check("a new alert is listed, said, zoomed to by a click and acknowledged by a button", async () => {
  await page.locator("#cameras button", { hasText: "All" }).click();
  const alert = await control({ do: "alert", twin: SPINDLE, rule: "spindle-rul-critical", value: 6.2 });
  const row = page.locator(`[data-alert="${alert.alertId}"]`);
  await row.waitFor(DEADLINE);
  assert((await page.locator("#voice").innerText()).includes("6 days of life left"), "screen readers are not told");
  await row.locator(".alert-main").click();
  await until(page, (id) => window.twinloom.selected === id && !window.twinloom.flying, SPINDLE);
  await page.evaluate(() => window.twinloom.drawn());
  const box = await page.evaluate((id) => window.twinloom.outline(id), SPINDLE);
  const canvas = await page.locator("#scene").boundingBox();
  assert(box.bottom - box.top > 90, `the part is only ${box.bottom - box.top} px high`);
  assert(Math.abs((box.left + box.right) / 2 - canvas.width / 2) < canvas.width / 6, "the part is not in the middle");
  await row.getByRole("button", { name: /^Acknowledge/ }).click();
  await row.getByText("✓ ack").waitFor(DEADLINE);
  await page.locator("#detail .orders").getByText("Replace the spindle bearings", { exact: true }).waitFor(DEADLINE);
  await control({ do: "clear", alert: alert.alertId });
  await row.waitFor({ state: "detached", ...DEADLINE });
});

check("keys reach search, alerts, sites and back", async () => {
  await page.keyboard.press("Escape");
  await until(page, () => window.twinloom.selected === null);
  await page.keyboard.press("/");
  await page.keyboard.type("derby 44 spin");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("Enter");
  await until(page, () => window.twinloom.selected === "derby/line-2/cnc-44/spindle");
  await page.keyboard.press("Escape");
  await until(page, () => window.twinloom.selected === null);
  const first = await control({ do: "alert", twin: "hamburg/line-1/cnc-23/spindle", rule: "spindle-rul-low", value: 25 });
  const second = await control({ do: "alert", twin: "derby/line-1/cnc-40/spindle", rule: "spindle-hot", value: 79 });
  await page.locator(`[data-alert="${second.alertId}"]`).waitFor(DEADLINE);
  await page.keyboard.press("a");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await until(page, () => window.twinloom.selected === "hamburg/line-1/cnc-23/spindle");
  await page.keyboard.press("n");
  await until(page, () => window.twinloom.selected === "derby/line-1/cnc-40/spindle");
  await page.locator("#scene").focus();
  await remember(page, "ahead");
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("+");
  await remember(page, "turned");
  assert((await changed(page, "ahead", "turned")).outside > 1000, "arrow keys do not turn the picture");
  const order = await page.evaluate(() => [...document.querySelectorAll("button, input, select, canvas[tabindex]")].filter((one) => one.checkVisibility() && one.tabIndex >= 0 && !one.closest("dialog")).map((one) => one.closest("header, section, footer")?.id).filter((id, i, all) => id !== all[i - 1]));
  equal(order.filter(Boolean).slice(0, 2), ["bar", "alerts"], "tab order");
  await control({ do: "clear", alert: first.alertId });
  await control({ do: "clear", alert: second.alertId });
  await page.keyboard.press("Escape");
  await page.keyboard.press("0");
});

check("the time slider shows the past under a banner and returns to live", async () => {
  await page.evaluate((id) => { location.hash = `twin=${id}`; }, "derby/line-2/cnc-44/spindle");
  const figure = page.locator('[data-path="speed"] .figure');
  await figure.filter({ hasText: "7321" }).waitFor(DEADLINE);
  await page.locator("#time").focus();
  await page.keyboard.press("PageDown");
  await page.getByText("HISTORICAL").waitFor(DEADLINE);
  equal(await page.evaluate(() => document.documentElement.dataset.time), "past", "time");
  await figure.filter({ hasNotText: "7321" }).waitFor(DEADLINE);
  await control({ do: "values", values: { "derby/line-2/cnc-44/spindle": { speed: 6543 } } });
  await until(page, () => window.twinloom.value("derby/line-2/cnc-44/spindle", "speed") === 6543);
  assert(!(await figure.innerText()).includes("6543"), "the past shows a live value");
  await page.getByRole("button", { name: "Return to live" }).click();
  await figure.filter({ hasText: "6543" }).waitFor(DEADLINE);
  assert(await page.locator("#banner").isHidden(), "the banner stays");
});

check("a missed event makes the page read everything again", async () => {
  const twin = "toulouse/line-1/cnc-01/spindle";
  await control({ do: "silent", values: { [twin]: { load: 77.25 } } });
  await control({ do: "missed" });
  await until(page, (id) => window.twinloom.value(id, "load") === 77.25, twin);
  equal(page.trouble, [], "console");
});

check("a killed server is shown as stale since a time, and the page comes back by itself", async () => {
  await page.keyboard.press("Escape");
  await page.keyboard.press("0");
  await remember(page, "connected");
  await kill(server);
  await page.locator("#connection").getByText(/^Reconnecting · stale since \d\d:\d\d:\d\d$/).waitFor(DEADLINE);
  await remember(page, "lost");
  assert((await changed(page, "connected", "lost")).outside > 20_000, "the picture does not grey");
  page.trouble.length = 0;
  server = await serve(port);
  await control({ do: "rul", twin: SPINDLE, days: 3.3 });
  await until(page, () => window.twinloom.state === "live");
  await page.getByRole("button", { name: "CNC 12 · Spindle 3.3 d left" }).waitFor(DEADLINE);
});

check("light and dark differ, follow the system and can be toggled", async () => {
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await ground();
  await page.emulateMedia({ colorScheme: "light", reducedMotion: "reduce" });
  await until(page, () => document.documentElement.dataset.theme === "light");
  const light = await ground();
  await page.keyboard.press("Escape");
  await page.keyboard.press("t");
  equal([dark === light, await ground()], [false, dark], "ground");
  await page.keyboard.press("t");
  equal(await ground(), light, "ground");
});

check("on a tablet every part fits, upright and across", async () => {
  await page.keyboard.press("0");
  for (const size of [{ width: 1024, height: 768 }, { width: 768, height: 1024 }]) {
    await page.setViewportSize(size);
    await page.evaluate(() => window.twinloom.drawn());
    for (const id of ["search", "colour-by", "cameras", "connection", "alerts", "scene", "legend", "side", "time", "go-live"]) {
      const box = await page.locator(`#${id}`).boundingBox();
      assert(box && box.x >= 0 && box.y >= 0 && box.x + box.width <= size.width + 0.5 && box.y + box.height <= size.height + 0.5, `${id} at ${size.width}: ${JSON.stringify(box)}`);
    }
    const scene = await page.locator("#scene").boundingBox();
    assert(scene.width * scene.height > 0.28 * size.width * size.height, "the picture is too small");
    const outline = await page.evaluate((id) => window.twinloom.outline(id), "toulouse");
    assert(outline.left > -1 && outline.right < scene.width + 1 && outline.bottom < scene.height + 1, `the plant does not fit: ${JSON.stringify(outline)}`);
  }
  await page.setViewportSize({ width: 1280, height: 800 });
});

check("an address with a twin opens it, and the browser's back button closes it", async () => {
  const linked = await openPage(`${url}/#twin=hamburg/line-1/cnc-23/spindle`);
  await ready(linked);
  await until(linked, () => window.twinloom.selected === "hamburg/line-1/cnc-23/spindle");
  await linked.getByRole("button", { name: "CNC 23", exact: true }).click();
  await until(linked, () => window.twinloom.selected === "hamburg/line-1/cnc-23");
  await linked.goBack();
  await until(linked, () => window.twinloom.selected === "hamburg/line-1/cnc-23/spindle");
  equal(linked.trouble, [], "console");
  await linked.close();
});

check("without a scene the twins stand as boxes, and a token is asked for and kept in the tab only", async () => {
  const other = await freePort();
  await serve(other, "--no-scene", "--token", "open-sesame");
  const guarded = await openPage(`http://127.0.0.1:${other}`);
  await guarded.locator("#token-dialog").waitFor(DEADLINE);
  await guarded.locator("#token").fill("wrong");
  await guarded.getByRole("button", { name: "Connect", exact: true }).click();
  await guarded.getByText("The server refused this token").waitFor(DEADLINE);
  await guarded.locator("#token").fill("open-sesame");
  await guarded.getByRole("button", { name: "Connect", exact: true }).click();
  await ready(guarded);
  equal(await guarded.evaluate(() => [localStorage.length, document.cookie, location.href.includes("sesame")]), [0, "", false], "places of the token");
  const spot = await guarded.evaluate(() => window.twinloom.project("toulouse/line-1/cnc-01/coolant-pump", 0));
  equal(await guarded.evaluate(({ x, y }) => window.twinloom.pick(x, y), spot), "toulouse/line-1/cnc-01/coolant-pump", "pick");
  equal(await guarded.evaluate(() => window.violations), [], "violations");
  await guarded.close();
});

let failed = 0;
for (const { name, run } of checks) {
  const begun = Date.now();
  let error = null;
  try {
    await run();
  } catch (problem) {
    error = String(problem?.message ?? problem);
    failed++;
    await page?.screenshot({ path: join(folder, `failed-${failed}.png`) }).catch(() => {});
  }
  process.stdout.write(`${JSON.stringify({ name, ok: error === null, ms: Date.now() - begun, error })}\n`);
}
await context.close();
for (const child of [...started]) await kill(child);
process.exit(failed === 0 ? 0 : 1);
