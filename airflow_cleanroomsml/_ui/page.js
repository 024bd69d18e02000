// The page about what one task instance has created. Airflow loads it as an ES module, passes dagId, runId, taskId and mapIndex (undefined
// unless mapped), and sets React. Everything shown comes from Airflow's public REST API (v2), read with the viewer's own session.
// Values from XCom may have been written by anybody who can run a task: each is checked before it is used, and React escapes it.

const React = globalThis.React;
const h = React.createElement;

// Milliseconds between two refreshes; each one that fails doubles the pause, up to the longest.
const REFRESH = 10_000, LONGEST_PAUSE = 300_000;
const REQUEST_TIMEOUT = 60_000;
// Null is the state of a task instance that was cleared and is not scheduled yet.
const UNFINISHED = [null, "scheduled", "queued", "running", "deferred", "restarting", "up_for_retry", "up_for_reschedule"];
// Exports of a run that are compared with the job, at most.
const MOST_EXPORTS = 50;

const STYLE = `
.crml { --crml-line: #2563eb; --crml-chosen: #c2410c; --crml-good: #15803d; --crml-bad: #b91c1c; --crml-track: #e4e4e7;
  --crml-muted: #52525b; --crml-border: #d4d4d8; --crml-text: #18181b;
  color: var(--crml-text); font-size: 14px; line-height: 1.5; padding: 16px; overflow: auto; height: 100%; }
.dark .crml { --crml-line: #60a5fa; --crml-chosen: #fb923c; --crml-good: #4ade80; --crml-bad: #f87171; --crml-track: #334155;
  --crml-muted: #a8b3c4; --crml-border: #334155; --crml-text: #f4f4f5; }
.crml-grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(430px, 100%), 1fr)); gap: 16px; align-items: start; }
.crml-split { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(340px, 100%), 1fr)); gap: 8px 32px; align-items: start; }
.crml section { border: 1px solid var(--crml-border); border-radius: 8px; padding: 16px; min-width: 0; }
.crml-wide { grid-column: 1 / -1; }
.crml h2 { font-size: 16px; font-weight: 600; margin: 0 0 12px; }
.crml p { margin: 8px 0 0; }
.crml-muted { color: var(--crml-muted); }
.crml .crml-stale { color: var(--crml-muted); font-size: 13px; margin: 0 0 12px; padding-left: 10px; border-left: 3px solid var(--crml-chosen); }
.crml table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
.crml th { text-align: left; font-weight: 600; color: var(--crml-muted); }
.crml th, .crml td { padding: 6px 12px 6px 0; border-bottom: 1px solid var(--crml-border); vertical-align: top; }
.crml tbody tr:last-child td { border-bottom: 0; }
.crml th:last-child, .crml td:last-child { padding-right: 0; }
.crml .crml-number { text-align: right; white-space: nowrap; }
.crml code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: 13px; overflow-wrap: anywhere; }
.crml button { border: 1px solid var(--crml-border); border-radius: 6px; padding: 2px 10px; background: transparent; color: inherit;
  cursor: pointer; font-size: 13px; white-space: nowrap; }
.crml button:hover { background: var(--crml-track); }
.crml button:focus-visible { outline: 2px solid var(--crml-line); outline-offset: 2px; }
.crml-chosen { color: var(--crml-chosen); font-weight: 600; }
.crml-bar { position: relative; height: 14px; border-radius: 7px; background: var(--crml-track); margin: 22px 0 26px; }
.crml-bar > span { position: absolute; left: 0; top: 0; bottom: 0; border-radius: 7px; background: var(--crml-line); }
.crml-bar > i { position: absolute; top: -5px; bottom: -5px; width: 2px; background: var(--crml-text); }
.crml-bar > b { position: absolute; top: 20px; font-weight: 400; font-size: 12px; color: var(--crml-muted); transform: translateX(-50%);
  white-space: nowrap; }
.crml-big { font-size: 28px; font-weight: 600; line-height: 1.1; }
.crml svg text { fill: var(--crml-muted); font-size: 13px; }
.crml svg .crml-value { fill: var(--crml-text); font-weight: 600; stroke: var(--chakra-colors-bg, Canvas); stroke-width: 4px;
  paint-order: stroke; }
`;

// ---- reading ------------------------------------------------------------------------------------------------------------------------

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const isText = (value) => typeof value === "string" && value !== "";
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

// What another attempt does not mend: the viewer has to log in, needs a right, or follows a link to something that was deleted.
class RefusedError extends Error {}

async function read(path, parameters = {}, noun = "XComs") {
  const url = new URL(`api/v2/${path}`, document.baseURI);
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  const options = { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(REQUEST_TIMEOUT) };
  const response = await fetch(url, options).catch((error) => {
    throw new Error(error.name === "TimeoutError" ? "Airflow did not respond within a minute." : "The browser could not reach Airflow.");
  });
  if (response.status === 404) return null;
  if (response.status === 401) throw new RefusedError("You are not logged in, or your session has ended. Reload the page to log in.");
  if (response.status === 403) throw new RefusedError(`You may not read the ${noun} of this Dag (403). Ask an administrator of Airflow.`);
  if (!response.ok) throw new Error(`Airflow responded with ${response.status} ${response.statusText}`.trimEnd() + ".");
  return response.json().catch(() => {
    throw new Error("The response is not JSON: something between the browser and Airflow may have sent it.");
  });
}

const run = ({ dagId, runId }) => `dags/${encodeURIComponent(dagId)}/dagRuns/${encodeURIComponent(runId)}`;
const instance = (at, taskId) => `${run(at)}/taskInstances/${encodeURIComponent(taskId)}`;

async function readXcom(at, taskId, mapIndex, key) {
  const parameters = { map_index: mapIndex ?? -1, deserialize: "true" };
  const entry = await read(`${instance(at, taskId)}/xcomEntries/${encodeURIComponent(key)}`, parameters);
  return entry?.value ?? null;
}

async function readProgress(at) {
  // Airflow 3.3 and later. What it adds is not worth an error.
  const index = at.mapIndex === undefined ? {} : { map_index: at.mapIndex };
  const entry = await read(`${instance(at, at.taskId)}/state-store/progress`, index).catch(() => null);
  return isObject(entry?.value) ? entry.value : null;
}

async function readExports(at, job) {
  const found = await read(`${run(at)}/taskInstances/~/xcomEntries`, { xcom_key: "audience_export_job", limit: MOST_EXPORTS });
  const entries = Array.isArray(found?.xcom_entries) ? found.xcom_entries : [];
  const exports = await Promise.all(
    entries.map(async ({ task_id, map_index }) => ({
      taskId: task_id,
      value: await readXcom(at, task_id, map_index, "audience_export_job"),
    })),
  );
  return exports.filter(({ value }) => isObject(value) && value.audience_generation_job_arn === job && readSize(value.audience_size));
}

async function readAll(at) {
  const index = at.mapIndex === undefined ? "" : `/${at.mapIndex}`;
  const task = await read(`${instance(at, at.taskId)}${index}`, {}, "task instances");
  if (task === null) throw new RefusedError("Airflow has no such task instance (404). It may have been deleted with its Dag run.");
  const listed = await read(`${instance(at, at.taskId)}/xcomEntries`, { map_index: at.mapIndex ?? -1, limit: 100 });
  const keys = (Array.isArray(listed?.xcom_entries) ? listed.xcom_entries : []).map(({ key }) => key).filter(isText);
  const shown = keys.filter((key) => !key.startsWith("_"));
  const values = await Promise.all(shown.map((key) => readXcom(at, at.taskId, at.mapIndex, key)));
  const xcom = Object.fromEntries(shown.map((key, number) => [key, values[number]]));
  const job = xcom.audience_generation_job_arn ?? (isText(xcom.return_value) ? xcom.return_value : null);
  const exports = isObject(xcom.metrics) && isText(job) ? await readExports(at, job) : [];
  return { task: isObject(task) ? task : {}, xcom, exports, progress: await readProgress(at) };
}

// ---- checking -----------------------------------------------------------------------------------------------------------------------

function readSize(size) {
  return isObject(size) && isText(size.type) && isNumber(size.value) ? { type: size.type, value: size.value } : null;
}

function readMetrics(metrics) {
  if (!isObject(metrics) || !Array.isArray(metrics.relevanceMetrics)) return null;
  const bins = metrics.relevanceMetrics.map((entry) => ({
    ...readSize(entry?.audienceSize),
    relevance: isNumber(entry?.score) ? entry.score : null,
  }));
  if (bins.some(({ type }) => type !== bins[0].type || type === undefined)) return null;
  bins.sort((one, other) => one.value - other.value);
  const largest = bins.at(-1);
  // The recall of a random selection is the share of the largest size (API reference, AudienceQualityMetrics). How many users there are in
  // the training data is not known here, so sizes in users have none.
  const chance = largest?.type === "PERCENTAGE" ? Math.min(1, largest.value / 100) : null;
  return { bins, chance, recall: isNumber(metrics.recallMetric) ? metrics.recallMetric : null };
}

function readHistory(history) {
  if (!Array.isArray(history)) return [];
  return history
    .filter((entry) => isObject(entry) && isText(entry.status) && !Number.isNaN(Date.parse(entry.since)))
    .map(({ status, since }) => ({ status, since: new Date(since) }));
}

// ---- formatting ---------------------------------------------------------------------------------------------------------------------

const formatSize = ({ type, value }) => (type === "PERCENTAGE" ? `${value} %` : `${value.toLocaleString("en")} users`);
const COMPACT = new Intl.NumberFormat("en", { notation: "compact" });
const formatTime = (time) => time.toISOString().replace("T", " ").replace(/\.\d+Z$/, " UTC");

function formatDuration(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

function chooseTicks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough);
  const ticks = [];
  for (let tick = Math.ceil(low / step); tick * step <= high + step / 1e6; tick += 1) ticks.push(tick * step);
  // More than a hundred digits are an error of toFixed().
  return { ticks, digits: Math.min(100, Math.max(0, -Math.floor(Math.log10(step) + 1e-9))) };
}

// ---- showing ------------------------------------------------------------------------------------------------------------------------

const Panel = ({ title, wide, id, children }) =>
  h("section", { className: wide ? "crml-wide" : undefined, "aria-label": title, "data-testid": id }, h("h2", null, title), children);

const Note = (_, ...children) => h("p", { className: "crml-muted" }, ...children);

const WIDTH = 560, HEIGHT = 300, LEFT = 44, RIGHT = 24, TOP = 36, BOTTOM = 48;

// Values that would touch another are left to the table; those of exported sizes come first.
function chooseLabels(points, x, isChosen) {
  const labelled = new Set();
  for (const bin of [...points.filter(isChosen), ...points]) {
    if ([...labelled].every((other) => Math.abs(x(other.value) - x(bin.value)) >= 44)) labelled.add(bin);
  }
  return labelled;
}

function Curve({ bins, chosen }) {
  const points = bins.filter(({ relevance }) => relevance !== null);
  const scores = points.map(({ relevance }) => relevance);
  const top = Math.max(0, ...scores), bottom = Math.min(0, ...scores), margin = (top - bottom || 1) * 0.12;
  const low = bottom < 0 ? bottom - margin : 0, high = top + margin, widest = bins.at(-1).value || 1;
  const x = (value) => LEFT + ((WIDTH - LEFT - RIGHT) * value) / widest;
  const y = (value) => HEIGHT - BOTTOM - ((HEIGHT - TOP - BOTTOM) * (value - low)) / (high - low);
  const { ticks, digits } = chooseTicks(low, high, 5);
  const across = chooseTicks(0, widest, 6).ticks;
  const isChosen = (bin) => chosen.some(({ size }) => size.type === bin.type && size.value === bin.value);
  const unit = bins[0].type === "PERCENTAGE" ? "audience size, % of the training users" : "audience size, users";
  const line = points.map(({ value, relevance }, index) => `${index ? "L" : "M"}${x(value)},${y(relevance)}`).join("");
  const labelled = chooseLabels(points, x, isChosen);
  const label = points.map((bin) => `${bin.relevance.toFixed(2)} at ${formatSize(bin)}`).join(", ");
  return h(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `Relevance by audience size: ${label}`, width: "100%" },
    ticks.map((tick) =>
      h(
        "g",
        { key: `y${tick}` },
        h("line", {
          x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick), strokeWidth: 1,
          stroke: Math.abs(tick) < 1e-9 ? "var(--crml-muted)" : "var(--crml-track)",
        }),
        h("text", { x: LEFT - 8, y: y(tick) + 4, textAnchor: "end" }, (Math.abs(tick) < 1e-9 ? 0 : tick).toFixed(digits)),
      ),
    ),
    across.map((tick) =>
      h("text", { key: `x${tick}`, x: x(tick), y: HEIGHT - BOTTOM + 18, textAnchor: "middle" }, COMPACT.format(tick)),
    ),
    h("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 8, textAnchor: "middle" }, unit),
    h("text", { x: 0, y: 14 }, "relevance"),
    h("path", { d: line, fill: "none", stroke: "var(--crml-line)", strokeWidth: 2 }),
    points.map((bin) => {
      const marked = isChosen(bin), [cx, cy] = [x(bin.value), y(bin.relevance)];
      // Labels stay inside the picture, and above their points.
      const anchor = cx > WIDTH - RIGHT - 16 ? "end" : cx < LEFT + 16 ? "start" : "middle";
      return h(
        "g",
        { key: bin.value },
        marked && h("line", {
          x1: cx, x2: cx, y1: cy, y2: HEIGHT - BOTTOM, stroke: "var(--crml-chosen)", strokeDasharray: "4 4", strokeWidth: 1.5,
        }),
        h(
          "circle",
          { cx, cy, r: marked ? 7 : 4.5, fill: marked ? "var(--crml-chosen)" : "var(--crml-line)" },
          h("title", null, `${formatSize(bin)}: ${bin.relevance.toFixed(3)}${marked ? ", exported" : ""}`),
        ),
        labelled.has(bin) && h("text", { x: cx, y: cy - 13, textAnchor: anchor, className: "crml-value" }, bin.relevance.toFixed(2)),
      );
    }),
  );
}

const COLUMNS = [{ width: "6em" }, { width: "6em" }, { paddingLeft: 24 }];

function Relevance({ metrics, exports }) {
  const chosen = exports.map(({ taskId, value }) => ({ taskId, size: readSize(value.audience_size) }));
  const { bins } = metrics;
  const exportersOf = (bin) => chosen.filter(({ size }) => size.type === bin.type && size.value === bin.value);
  return h(
    Panel,
    { title: "Relevance by audience size", wide: true, id: "crml-relevance" },
    h(
      "div",
      { className: "crml-split" },
      bins.some(({ relevance }) => relevance !== null) ? h(Curve, { bins, chosen }) : Note(null, "The job has no relevance."),
      h(
        "div",
        null,
        h(
          "table",
          null,
          h("thead", null, h("tr", null, ["size", "relevance", "exported by"].map((name, index) =>
            h("th", { key: name, scope: "col", className: index < 2 ? "crml-number" : undefined, style: COLUMNS[index] }, name)))),
          h("tbody", null, bins.map((bin) =>
            h(
              "tr",
              { key: bin.value },
              h("td", { className: "crml-number" }, formatSize(bin)),
              h("td", { className: "crml-number" }, bin.relevance === null ? "–" : bin.relevance.toFixed(3)),
              h("td", { className: "crml-chosen", style: COLUMNS[2] }, exportersOf(bin).map(({ taskId }) => taskId).join(", ")),
            ))),
        ),
        chosen.length === 0 && Note(null, "No task of this run has exported an audience of this job."),
        Note(null, "At a relevance of 0, the model predicts that all users of the audience are like the seed. Below 0, the audience is likely to include others."),
      ),
    ),
  );
}

function Recall({ recall, chance }) {
  if (recall === null) return h(Panel, { title: "Recall", id: "crml-recall" }, Note(null, "The job has no recall."));
  const percent = (value) => `${Math.max(0, Math.min(1, value)) * 100}%`;
  return h(
    Panel,
    { title: "Recall", id: "crml-recall" },
    h("div", { className: "crml-big" }, recall.toFixed(2)),
    h(
      "div",
      { className: "crml-bar", role: "img", "aria-label": `Recall ${recall.toFixed(2)}, random ${chance === null ? "unknown" : chance.toFixed(2)}` },
      h("span", { style: { width: percent(recall) } }),
      chance !== null && h("i", { style: { left: percent(chance) } }),
      chance !== null && h("b", { style: { left: `clamp(48px, ${percent(chance)}, calc(100% - 48px))` } }, `random ${chance.toFixed(2)}`),
    ),
    chance === null
      ? Note(null, "The sizes are numbers of users, so the recall of a random selection is not known: Airflow does not know how many users the training data have.")
      : recall > chance
        ? Note(null, `${(recall / chance).toFixed(1)} times that of a random selection of the largest size.`)
        : h("p", { style: { color: "var(--crml-bad)" } }, "No better than a random selection."),
  );
}

function History({ history, progress, unfinished }) {
  const last = history.at(-1);
  const total = last ? last.since - history[0].since : 0;
  const rows = history.map((entry, index) => {
    const until = history[index + 1]?.since;
    return h(
      "tr",
      { key: index },
      h("td", null, h("code", null, entry.status)),
      h("td", null, formatTime(entry.since)),
      h("td", { className: "crml-number" }, until ? formatDuration(until - entry.since) : ""),
    );
  });
  // A worker of an earlier release calls it looked_at.
  const polledAt = progress?.polled_at ?? progress?.looked_at;
  return h(
    Panel,
    { title: "Statuses", id: "crml-history" },
    rows.length > 0 && h(
      "table",
      null,
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "status"), h("th", { scope: "col" }, "first seen"),
        h("th", { scope: "col", className: "crml-number" }, "duration"))),
      h("tbody", null, rows),
    ),
    history.length > 1 && Note(null, `${formatDuration(total)} from the first poll to ${last.status}.`),
    rows.length === 0 && unfinished && isText(progress?.status) && h("p", null, h("code", null, progress.status),
      isText(polledAt) ? `, polled at ${polledAt}` : ""),
    rows.length === 0 && unfinished && isText(progress?.deferred_since) &&
      Note(null, `The task has been deferred since ${progress.deferred_since}. The triggerer polls on; its log has the present status.`),
    rows.length === 0 && Note(null, unfinished ? "The history is written when the wait ends." : "The task did not wait, or was killed."),
  );
}

function Logs({ xcom, noun }) {
  const readStatus = (kind) => (isText(xcom[`${kind}_status`]) ? xcom[`${kind}_status`] : "not known");
  const group = noun === "inference job" ? "/aws/cleanroomsml/TrainedModelInferenceJobs" : "/aws/cleanroomsml/TrainedModels";
  const row = (kind) =>
    h(
      "tr",
      { key: kind },
      h("td", null, kind),
      h(
        "td",
        null,
        h("code", { style: { color: readStatus(kind) === "PUBLISH_FAILED" ? "var(--crml-bad)" : undefined } }, readStatus(kind)),
        isText(xcom[`${kind}_status_details`]) && h("div", null, xcom[`${kind}_status_details`]),
      ),
    );
  return h(
    Panel,
    { title: "Logs and metrics", id: "crml-logs" },
    h("table", null, h("tbody", null, row("logs"), row("metrics"))),
    Note(null, "In Amazon CloudWatch, in accounts that may see them: log group and metric namespace ", h("code", null, group),
      ". Metrics of the training container are there only; Airflow does not have them."),
  );
}

function Copy({ value, label }) {
  const [copied, setCopied] = React.useState(false);
  const copy = async () => {
    // Browsers have no clipboard on pages that come without TLS from another host than the browser's own.
    await navigator.clipboard?.writeText(value);
    setCopied(Boolean(navigator.clipboard));
  };
  React.useEffect(() => {
    const timer = copied ? setTimeout(() => setCopied(false), 2000) : undefined;
    return () => clearTimeout(timer);
  }, [copied]);
  return h("button", { type: "button", onClick: () => copy().catch(() => {}), "aria-label": `Copy ${label}` }, copied ? "Copied" : "Copy");
}

function Identifiers({ values }) {
  return h(
    Panel,
    { title: "Identifiers and locations", wide: true, id: "crml-identifiers" },
    h("table", null, h("tbody", null, values.map(([label, value]) =>
      h(
        "tr",
        { key: `${label} ${value}` },
        h("td", { style: { whiteSpace: "nowrap", width: "1%" } }, label),
        h("td", null, h("code", null, value)),
        h("td", { style: { textAlign: "right", paddingRight: 0, width: "1%" } }, h(Copy, { value, label })),
      )))),
  );
}

function findIdentifiers(xcom) {
  const values = [];
  const add = (label, value) => {
    const known = values.some(([, other]) => other === value);
    if (isText(value) && !known && (/^(arn:|s3:\/\/)/.test(value) || /_(arn|identifier)$/.test(label))) values.push([label, value]);
  };
  // The return value is often one of the others, whose key says more.
  const entries = Object.entries(xcom).sort(([one], [other]) => (one === "return_value") - (other === "return_value"));
  for (const [key, value] of entries) {
    if (isObject(value) && key !== "metrics") for (const [name, inner] of Object.entries(value)) add(name, inner);
    else add(key === "return_value" ? "result" : key, value);
  }
  return values;
}

// Names of operators and sensors contain the noun of what they are about.
function findNoun(task) {
  const name = isText(task.operator_name) ? task.operator_name : isText(task.operator) ? task.operator : "";
  if (name.includes("InferenceJob")) return "inference job";
  if (name.includes("TrainedModelExport")) return "model export";
  if (name.includes("TrainedModel")) return "trained model";
  return name.includes("AudienceGenerationJob") ? "generation job" : "other";
}

function Content({ task, xcom, exports, progress }) {
  const noun = findNoun(task), unfinished = UNFINISHED.includes(task.state);
  const metrics = readMetrics(xcom.metrics), history = readHistory(xcom.status_history), identifiers = findIdentifiers(xcom);
  return h(
    "div",
    { className: "crml-grid" },
    metrics && metrics.bins.length > 0 && h(Relevance, { metrics, exports }),
    metrics && h(Recall, metrics),
    noun === "generation job" && !metrics && h(
      Panel, { title: "Relevance and recall", id: "crml-relevance" },
      Note(null, xcom.metrics ? "The metrics in XCom do not have the documented form." : unfinished
        ? "The metrics are written when the job has ended." : "The task has pushed no metrics: the owner of the configured audience model does not share them, or the job has failed."),
    ),
    h(History, { history, progress, unfinished }),
    ["trained model", "inference job"].includes(noun) && h(Logs, { xcom, noun }),
    identifiers.length > 0 && h(Identifiers, { values: identifiers }),
    ["inference job", "model export"].includes(noun) && h(
      Panel, { title: "Output", wide: true, id: "crml-output" },
      h("p", { style: { marginTop: 0 } }, "The service does not return where the files are. They are in the bucket of the member that receives them, below the S3 path of its ML configuration."),
    ),
    identifiers.length === 0 && history.length === 0 && h(
      Panel, { title: "Nothing yet", id: "crml-empty" },
      Note(null, unfinished ? "The task has pushed nothing to XCom so far." : "The task has pushed nothing to XCom: it failed before it created anything, or has do_xcom_push=False."),
    ),
  );
}

// What is shown stays when a refresh fails: a proxy or an API server that restarts is back soon.
function Stale({ failure, readAt }) {
  return h(
    "p",
    { className: "crml-stale", role: "status", "data-testid": "crml-stale" },
    `The refresh at ${formatTime(failure.at)} failed: ${failure.message} The page shows the state of ${formatTime(readAt)}. `,
    `The next attempt is ${formatDuration(failure.pause)} later.`,
  );
}

function Page(at) {
  const { dagId, runId, taskId, mapIndex } = at;
  const [{ content, readAt, failure }, setState] = React.useState({});
  React.useEffect(() => {
    let gone = false, failures = 0, isFirst = true, timer;
    const load = async () => {
      let pause = REFRESH;
      try {
        const found = await readAll({ dagId, runId, taskId, mapIndex });
        if (gone) return;
        setState({ content: found, readAt: new Date() });
        if (!UNFINISHED.includes(found.task.state)) return;
        failures = 0;
        isFirst = false;
      } catch (error) {
        if (gone) return;
        failures += 1;
        pause = isFirst && error instanceof RefusedError ? null : Math.min(REFRESH * 2 ** failures, LONGEST_PAUSE);
        const message = error instanceof Error ? error.message : String(error);
        setState((shown) => ({ ...shown, failure: { message, pause, at: new Date() } }));
      }
      if (pause !== null) timer = setTimeout(load, pause);
    };
    setState({});
    load();
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [dagId, runId, taskId, mapIndex]);
  if (content) return h(React.Fragment, null, failure && h(Stale, { failure, readAt }), h(Content, content));
  if (!failure) return h("p", { className: "crml-muted", role: "status" }, "Loading…");
  const next = failure.pause === null ? "" : ` The page tries again in ${formatDuration(failure.pause)}.`;
  return h("p", { role: "alert", "data-testid": "crml-error" }, failure.message, next);
}

// An error while rendering would replace Airflow's whole page.
class Boundary extends React.Component {
  constructor(properties) {
    super(properties);
    this.state = { error: null };
  }

  static getDerivedStateFromError(error) {
    return { error };
  }

  render() {
    const { error } = this.state;
    if (!error) return this.props.children;
    return h("p", { role: "alert", "data-testid": "crml-error" }, `The details cannot be shown: ${error.message}. The XComs of the task have them.`);
  }
}

function CleanRoomsMLDetails(properties) {
  const at = [properties.dagId, properties.runId, properties.taskId, properties.mapIndex];
  return h("div", { className: "crml", "data-testid": "crml" }, h("style", null, STYLE), h(Boundary, { key: at.join("\n") }, h(Page, properties)));
}

// Airflow looks for the component under the name of the plugin's entry.
globalThis.cleanroomsml = CleanRoomsMLDetails;
