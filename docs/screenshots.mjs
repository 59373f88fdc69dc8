// Takes the README's pictures from a workspace after `graftwork run` and `graftwork sweep`.
//   npm install playwright-core && node docs/screenshots.mjs [PATH TO CHROMIUM]
import { resolve } from "node:path";
import { chromium } from "playwright-core";

const root = resolve(import.meta.dirname, "..");
const address = "http://127.0.0.1:4200"; // what `graftwork server status` shows
const browser = await chromium.launch({
  executablePath: process.argv[2] ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-quic", "--disable-background-networking"],
});

const report = await browser.newPage({ viewport: { width: 1100, height: 940 }, colorScheme: "light" });
await report.goto(`file://${root}/report/report.html`);
await report.screenshot({ path: `${root}/docs/report.png` });
await report.setViewportSize({ width: 1100, height: 1090 });
await report.goto(`file://${root}/sweep/report.html`);
await report.screenshot({ path: `${root}/docs/sweep.png` });

const answer = await fetch(`${address}/api/flow_runs/filter`, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ sort: "START_TIME_DESC", limit: 5 }),
});
const runs = await answer.json();
const run = runs.sort((a, b) => b.total_run_time - a.total_run_time)[0]; // one that computed everything
const ui = await browser.newPage({ viewport: { width: 1400, height: 900 } });
await ui.goto(`${address}/v2/runs/flow-run/${run.id}`, { waitUntil: "load" });
await ui.waitForTimeout(8000); // the graph draws itself
await ui.screenshot({ path: `${root}/docs/prefect-run.png` });
await browser.close();
