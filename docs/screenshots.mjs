// Takes the pictures of the README and docs/operations.md, from a workspace after `graftwork deploy`, `graftwork run`
// and `graftwork sweep`.
//   npm install playwright-core && node docs/screenshots.mjs [WORKSPACE [CHROMIUM]]
import { resolve } from "node:path";
import { chromium } from "playwright-core";

const docs = import.meta.dirname;
const root = resolve(process.argv[2] ?? `${docs}/..`);
const address = process.env.UI ?? "http://127.0.0.1:4200"; // what `graftwork server status` shows
const browser = await chromium.launch({
  executablePath: process.argv[3] ?? "/usr/bin/chromium",
  // the graph of a run is drawn by WebGL, which a browser without a screen does in software
  args: ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--enable-unsafe-swiftshader"],
});

async function api(path, body) {
  const headers = { "Content-Type": "application/json" };
  return (await fetch(`${address}/api${path}`, { method: "POST", headers, body: JSON.stringify(body) })).json();
}

async function shoot(name, url, { width = 1400, height = 900, wait = 0, prepare = async () => {} } = {}) {
  const page = await browser.newPage({ viewport: { width, height }, colorScheme: "light" });
  await page.goto(url, { waitUntil: "load" });
  await page.waitForTimeout(wait);
  await prepare(page);
  await page.screenshot({ path: `${docs}/${name}.png` });
  await page.close();
}

await shoot("report", `file://${root}/report/report.html`, { width: 1100, height: 940 });
await shoot("sweep", `file://${root}/sweep/report.html`, { width: 1100, height: 1090 });

const drawn = 8000; // milliseconds that the UI takes to fill a page here
const runs = await api("/flow_runs/filter", { sort: "START_TIME_DESC", limit: 20 });
const whole = runs.filter((run) => run.name.startsWith("transfer-") && run.state_type === "COMPLETED");
const [latest, longest] = [whole[0], whole.toSorted((a, b) => b.total_run_time - a.total_run_time)[0]];
await shoot("prefect-run", `${address}/v2/runs/flow-run/${longest.id}`, { wait: drawn }); // it computed everything
const failed = runs.find((one) => one.state_type === "FAILED" && one.name.startsWith("transfer-"));
if (failed) await shoot("prefect-failed", `${address}/v2/runs/flow-run/${failed.id}`, { wait: drawn, height: 510 });
if (failed) {
  const partial = `file://${root}/.graftwork/reports/${failed.name}.html`;
  await shoot("partial", partial, { width: 1100, height: 720 });
}
const [summary] = await api("/artifacts/filter", {
  artifacts: { flow_run_id: { any_: [latest.id] }, key: { any_: ["transfer-report"] } },
});
await shoot("prefect-artifact", `${address}/v2/artifacts/artifact/${summary.id}`, { wait: drawn, height: 1960 });
await shoot("prefect-deployments", `${address}/v2/deployments`, { wait: drawn, height: 420 });
const [nightly] = await api("/deployments/filter", { deployments: { name: { any_: ["nightly"] } } });
await shoot("prefect-form", `${address}/v2/deployments/deployment/${nightly.id}/run`, { wait: drawn, height: 1400 });
await browser.close();
