// The page: one event stream for orders and market, a slow poll for the gate's own numbers.
// Numbers are shown, never computed with: what counts is decided by the gate.

import { drawChart } from "/chart.js";
import { authorised, streamAddress } from "/login.js";

const $ = (id) => document.getElementById(id);
const KEEP_FILLS = 200, KEEP_CLOSED = 200, CHART_MS = 5 * 60_000, POLL_MS = 2_000;
const WORKING = new Set(["PENDING", "ACCEPTED", "PARTIALLY_FILLED", "UNKNOWN"]);

const symbols = new Map();   // name -> {tick, lot, price_scale, qty_scale}
const market = new Map();    // name -> {price, bid, ask, stale}
const history = new Map();   // name -> [{t, price, bid, ask}]
const orders = new Map();    // client_order_id -> state
let fills = [], positions = [], lastId = null, stream = null, linkUp = false, gateUp = null, lostSince = null, previous = null, retry = null, guard = null;
let dirty = new Set();

// ---- words and numbers ----
const text = (value) => (value === null || value === undefined ? "–" : String(value));
const fixed = (value, digits) => (value === null || value === undefined ? "–" : value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
const price = (value, name) => fixed(value, symbols.get(name)?.price_scale ?? 2);
const money = (value) => fixed(value, 2);
const signed = (value) => (value > 0 ? "up" : value < 0 ? "down" : "");
const clock = (ns) => (ns ? new Date(ns / 1e6).toLocaleTimeString("en-GB") : "–");
const micros = (ns) => (ns === 0 ? "–" : fixed(ns / 1000, ns < 100_000 ? 2 : 0));
const sideClass = (side) => (side === "BUY" ? "buy-text left" : "sell-text left");

function row(cells) {
  const tr = document.createElement("tr");
  for (const cell of cells) {
    const [content, name] = Array.isArray(cell) ? cell : [cell, ""];
    const td = document.createElement("td");
    if (name) td.className = name;
    td.append(content instanceof Node ? content : text(content));
    tr.append(td);
  }
  return tr;
}

function table(id, rows, empty) {
  if (rows.length === 0) {
    const tr = row([empty]);
    tr.className = "empty";
    tr.firstChild.colSpan = 9;
    rows = [tr];
  }
  $(id).replaceChildren(...rows);
}

// ---- drawing: at most once a frame, and only what changed ----
function touch(...parts) {
  if (dirty.size === 0) requestAnimationFrame(draw);
  parts.forEach((part) => dirty.add(part));
}

function draw() {
  const parts = dirty;
  dirty = new Set();
  if (parts.has("market")) drawMarket();
  if (parts.has("orders")) drawOrders();
  if (parts.has("fills")) drawFills();
  if (parts.has("positions")) drawPositions();
  if (parts.has("link")) drawLink();
  if (parts.has("guard")) drawGuard();
}

function drawMarket() {
  const name = $("symbol").value, now = market.get(name);
  $("last").value = price(now?.price, name);
  $("bid").value = price(now?.bid, name);
  $("ask").value = price(now?.ask, name);
  $("stale").hidden = !now || !now.stale;
  const points = history.get(name) ?? [];
  const seconds = points.length > 1 ? Math.round((points.at(-1).t - points[0].t) / 1000) : 0;
  $("span").textContent = points.length < 2 ? "waiting for trades" : seconds < 120 ? `last ${seconds} s` : `last ${Math.round(seconds / 60)} min`;
  drawChart($("chart"), points, (value) => price(value, name));
}

function drawOrders() {
  const all = [...orders.values()], working = all.filter((o) => WORKING.has(o.status));
  $("working").textContent = working.length ? String(working.length) : "";
  $("sweep").disabled = working.length === 0;
  table("orders", working.sort((a, b) => b.last_ts_ns - a.last_ts_ns).slice(0, 500).map((o) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Cancel";
    button.ariaLabel = `Cancel ${o.client_order_id}`;
    button.addEventListener("click", () => cancel(o.client_order_id, button));
    return row([[o.client_order_id, "left"], [o.strategy, "left"], [o.symbol, "left"], [o.side, sideClass(o.side)], o.order_qty, o.executed_qty, o.limit_price === null ? "market" : price(o.limit_price, o.symbol), o.status, button]);
  }), "No order works.");
  const closed = all.filter((o) => !WORKING.has(o.status)).sort((a, b) => b.last_ts_ns - a.last_ts_ns);
  closed.slice(KEEP_CLOSED).forEach((o) => orders.delete(o.client_order_id));
  table("closed", closed.slice(0, KEEP_CLOSED).map((o) => row([[clock(o.last_ts_ns), "left"], [o.client_order_id, "left"], [o.symbol, "left"], [o.side, sideClass(o.side)], o.executed_qty, price(o.avg_price, o.symbol), o.status, [text(o.reason ?? ""), "left"]])), "Nothing yet.");
}

function drawFills() {
  table("fills", fills.map((f) => row([[clock(f.ts_ns), "left"], [f.strategy, "left"], [f.symbol, "left"], [f.side, sideClass(f.side)], f.qty, price(f.price, f.symbol), fixed(f.fee, 4)])), "No fill yet.");
}

function drawPositions() {
  table("positions", positions.map((p) => row([[p.strategy, "left"], [p.symbol, "left"], p.qty, price(p.avg_entry, p.symbol), price(p.mark, p.symbol), [money(p.unrealised), signed(p.unrealised)], [money(p.realised), signed(p.realised)], money(p.fees), [money(p.pnl), signed(p.pnl)]])), "Flat.");
  const pnl = positions.reduce((sum, p) => sum + p.pnl, 0);
  $("pnl").value = positions.length ? money(pnl) : "–";
  $("pnl").className = signed(pnl);
}

function drawLink() {
  const link = $("link"), banner = $("banner");
  const [word, kind] = !linkUp ? ["no connection", "bad"] : gateUp === false ? ["gate away", "warn"] : ["live", "good"];
  link.textContent = word;
  link.className = `tag ${kind}`;
  document.body.classList.toggle("lost", !linkUp && lostSince !== null);
  $("send").disabled = !linkUp;
  banner.hidden = linkUp ? gateUp !== false : lostSince === null;
  banner.textContent = linkUp
    ? "The gate is away: orders are refused until it is back. Nothing is lost."
    : `No connection since ${lostSince?.toLocaleTimeString("en-GB")}. What stands here is old; trying again.`;
}

// ---- the stream ----
const on = {
  snapshot(data) {
    orders.clear();
    data.orders.forEach((o) => orders.set(o.client_order_id, o));
    data.market.forEach(on.market);
    positions = data.positions.items;
    guard = data.guard;
    touch("guard");
    loadFills();
    touch("orders", "positions");
  },
  market(data) {
    market.set(data.symbol, data);
    if (data.price !== null && !data.stale) {
      const points = history.get(data.symbol) ?? [], t = Date.now();
      points.push({ t, price: data.price, bid: data.bid, ask: data.ask });
      while (points[0].t < t - CHART_MS) points.shift();
      history.set(data.symbol, points);
    }
    if (data.symbol === $("symbol").value) touch("market");
  },
  mode(data) { guard = data; touch("guard"); },
  order_state(data) { orders.set(data.client_order_id, data); touch("orders"); },
  fill(data) { fills = [data, ...fills].slice(0, KEEP_FILLS); touch("fills"); },
  account(data) { positions = data.positions.items; touch("positions"); },
};

async function connect() {
  stream?.close();
  try {
    stream = new EventSource(await streamAddress(lastId === null ? "/api/stream?snapshot=1" : `/api/stream?last_id=${lastId}`));
  } catch {
    return lost();
  }
  stream.onopen = () => { linkUp = true; lostSince = null; touch("link"); };
  for (const [name, handle] of Object.entries(on)) {
    stream.addEventListener(name, (event) => {
      if (event.lastEventId) lastId = event.lastEventId;
      handle(JSON.parse(event.data));
    });
  }
  for (const name of ["order_received", "order_update", "mass_cancel"]) {
    stream.addEventListener(name, (event) => { lastId = event.lastEventId; });
  }
  // One name, two meanings: the server's `error` event has data, a broken connection has none.
  stream.addEventListener("error", (event) => (event.data === undefined ? lost() : failed(event)));
}

function failed(event) {
  if (event.lastEventId) lastId = event.lastEventId;
  const data = JSON.parse(event.data);
  if (mine.has(data.client_order_id)) say("Refused", "bad", `${data.client_order_id}: ${data.message}`);
}

function lost() {
  linkUp = false;
  lostSince ??= new Date();
  touch("link");
  stream?.close();
  retry ??= setTimeout(() => { retry = null; connect(); }, 1_000);
}

// ---- asking ----
async function ask(path, body) {
  const options = {};
  if (body) Object.assign(options, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const began = performance.now(), response = await authorised(path, options);
  return { ok: response.ok, status: response.status, data: await response.json(), ms: performance.now() - began };
}

async function loadFills() {
  const { data } = await ask("/api/orders");
  fills = (data.items ?? []).filter((event) => event.type === "fill");
  touch("fills");
}

function say(verdict, kind, ...lines) {
  const first = document.createElement("p");
  first.className = `verdict ${kind === "good" ? "up" : "down"}`;
  first.textContent = verdict;
  $("answer").replaceChildren(first, ...lines.filter(Boolean).map((line) => {
    const p = document.createElement("p");
    p.textContent = line;
    return p;
  }));
}

function tell({ ok, data, ms }) {
  const latency = (decision) => (decision?.gate_latency_ns == null ? "" : `gate ${micros(decision.gate_latency_ns)} µs · `) + `round trip ${fixed(ms, 1)} ms`;
  if (ok) {
    say(data.duplicate ? "Accepted before" : "Accepted", "good", data.client_order_id, latency(data.decision));
  } else {
    const d = data.details ?? {};
    const why = d.limit_id ? `${d.limit_id}: ${d.observed} against a limit of ${d.limit}` : data.message;
    say(d.reason ?? data.error.replaceAll("_", " "), "bad", why, d.reason ? latency(d) : "");
    if (d.field && $(d.field)) $(d.field).focus();
  }
}

// The id makes asking again safe: a repeat returns the first answer.
async function place(body, tries = 3) {
  try {
    const answer = await ask("/api/order", body);
    if (answer.status === 503 && tries > 1) throw new Error(answer.data.message);
    tell(answer);
  } catch (error) {
    if (tries <= 1) return say("No answer", "bad", `Whether ${body.client_order_id} was placed is unknown: see the orders below once connected.`);
    say("No answer yet", "bad", `${error.message}. Asking again under the same id.`);
    await new Promise((wake) => setTimeout(wake, 1_000));
    return place(body, tries - 1);
  }
}

async function cancel(id, button) {
  button.disabled = true;
  try {
    const answer = await ask("/api/cancel", { client_order_id: id });
    if (!answer.ok) tell(answer);
  } catch (error) {
    say("No answer", "bad", `Cancel of ${id}: ${error.message}`);
  }
  button.disabled = false;
}

// ---- the ticket ----
const side = () => $("ticket").elements.side.value;
const mine = new Set();      // orders of this ticket: only their trouble is shown beside it
let count = 0;

function dress() {
  $("send").textContent = `${side() === "BUY" ? "Buy" : "Sell"} ${$("symbol").value}`;
  $("send").className = side() === "SELL" ? "sell" : "";
  $("price").disabled = $("type").value === "MARKET";
}

function atTouch() {
  const now = market.get($("symbol").value), value = side() === "BUY" ? now?.ask : now?.bid;
  if (value != null) $("price").value = value;
  $("price").focus();
  $("price").select();
}

$("ticket").addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = { side: side(), symbol: $("symbol").value, qty: $("qty").value.trim(), type: $("type").value, tif: $("tif").value };
  if (body.type === "LIMIT") body.price = $("price").value.trim();
  body.client_order_id = `web-${Date.now().toString(36)}-${(count += 1)}`;
  mine.add(body.client_order_id);
  $("send").disabled = true;
  await place(body);
  $("send").disabled = !linkUp;
});
$("ticket").addEventListener("change", dress);
$("type").addEventListener("change", () => { if ($("type").value === "MARKET" && $("tif").value === "GTC") $("tif").value = "IOC"; });
$("symbol").addEventListener("change", () => { $("price").value = ""; dress(); touch("market"); });

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") return document.activeElement?.blur();
  if (event.target.closest?.("input:not([type=radio]), select, textarea")) return;
  const act = { b: () => pick("BUY"), s: () => pick("SELL"), q: () => $("qty").focus(), p: atTouch }[event.key.toLowerCase()];
  if (act) { event.preventDefault(); act(); }
});

function pick(value) {
  $("ticket").elements.side.value = value;
  dress();
}

// Asked twice: the second press within three seconds means it.
function askedTwice(button, warning, act) {
  const label = button.textContent;
  button.addEventListener("click", async () => {
    if (button.classList.contains("sure")) return act();
    button.classList.add("sure");
    button.textContent = warning;
    setTimeout(() => { button.classList.remove("sure"); button.textContent = label; }, 3_000);
  });
}

const tryAsk = (path, body) => ask(path, body).catch((error) => ({ ok: false, data: { error: "no_answer", message: error.message }, ms: 0 }));

askedTwice($("sweep"), "Press again to cancel all", async () => {
  const answer = await tryAsk("/api/cancel_all", {});
  if (answer.ok) say("Cancel all sent", "good", `${answer.data.orders} orders of ${answer.data.strategies} strategies`);
  else tell(answer);
});

// ---- kill switch and StormGuard ----
askedTwice($("kill"), "Press again to kill", async () => {
  const answer = await tryAsk("/api/kill", { reason: "page" });
  if (answer.ok) say("Killed", "bad", `${answer.data.orders} orders are being cancelled`);
  else tell(answer);
});

$("guard").addEventListener("submit", async (event) => {
  event.preventDefault();
  const answer = await tryAsk("/api/rearm", { reason: $("rearm-reason").value });
  if (!answer.ok) return tell(answer);
  $("rearm-reason").value = "";
  say("Re-armed", "good");
});

function drawGuard() {
  const { passing, mode, storm } = guard, stuck = mode === "KILLED" || storm.state === "HALT";
  $("mode").textContent = passing.replaceAll("_", " ");
  $("mode").className = `tag ${passing === "ALLOW_ALL" ? (storm.state === "NORMAL" ? "good" : "warn") : "bad"}`;
  $("guard").hidden = passing === "ALLOW_ALL" && storm.state === "NORMAL";
  $("guard").className = `banner ${passing === "ALLOW_ALL" ? "mild" : ""}`;
  $("rearm").hidden = !stuck;
  $("kill").disabled = mode === "KILLED";
  const parts = [];
  if (mode !== "ALLOW_ALL") parts.push(`${mode.replaceAll("_", " ")} since ${clock(guard.since_ns)}${guard.reason ? `: ${guard.reason}` : ""}`);
  if (storm.state !== "NORMAL") {
    const seen = storm.observed === undefined ? "" : `, ${storm.observed} against ${storm.threshold}`;
    parts.push(`StormGuard ${storm.state} since ${clock(storm.since_ns)}: ${storm.cause.replaceAll("_", " ").toLowerCase()}${seen}${storm.reason ? `, ${storm.reason}` : ""}`);
  }
  $("guard-text").textContent = parts.join(" · ");
}

// ---- the gate's own numbers ----
const LATENCIES = [["decision_ns", "decision"], ["ring_ns", "ring"], ["order_roundtrip_ns", "order to venue and back"]];
const COUNTERS = [["accepted", "accepted"], ["rejected", "rejected"], ["duplicates", "repeats"], ["fills", "fills"], ["open_orders", "open orders"], ["journal_pos", "journal"], ["market_events", "market events"], ["attached_clients", "clients"]];

async function poll() {
  try {
    const [gate, held, ping] = await Promise.all([ask("/api/gate"), ask("/api/positions"), ask("/api/execution/ping")]);
    gateUp = gate.ok && gate.data.connected;
    positions = held.data.items ?? [];
    if (gate.ok) drawGate(gate.data);
    if (ping.ok) drawVenue(ping.data);
    touch("positions", "link");
  } catch {
    if (linkUp) lost();
  }
  setTimeout(poll, POLL_MS);
}

// An exchange and where it stands; the paper venue is always there.
function drawVenue({ execution_mode, venue }) {
  $("venue-box").hidden = false;
  $("venue-name").textContent = venue ? execution_mode.replaceAll("_", " ") : "venue";
  $("venue").textContent = venue ? venue.state : "paper";
  $("venue").title = venue?.reason || venue?.last_failure || "";
  $("venue").className = `tag ${!venue || venue.trading ? "good" : venue.state === "lost" ? "bad" : "warn"}`;
}

function drawGate(data) {
  guard = data.guard;
  touch("guard");
  $("latency").replaceChildren(...LATENCIES.map(([key, name]) => {
    const h = data[key];
    return row([[name, "left"], micros(h.p50), micros(h.p99), micros(h.p999), micros(h.max)]);
  }));
  const now = { t: performance.now(), intents: data.counters.intents };
  const rate = previous ? Math.max(0, (now.intents - previous.intents) / ((now.t - previous.t) / 1000)) : 0;
  previous = now;
  const items = [["intents/s", fixed(rate, 0)], ...COUNTERS.map(([key, name]) => [name, fixed(data.counters[key] ?? 0, 0)])];
  $("counters").replaceChildren(...items.map(([name, value]) => {
    const div = document.createElement("div"), dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = name;
    dd.textContent = value;
    div.append(dt, dd);
    return div;
  }));
}

// ---- start ----
async function start() {
  try {
    const [{ data: table }, { data: config }] = await Promise.all([ask("/api/symbols"), ask("/api/config")]);
    if (table.items.length === 0) throw new Error("no symbols yet");
    table.items.forEach((s) => symbols.set(s.symbol, s));
    $("symbol").replaceChildren(...table.items.map((s) => new Option(s.symbol, s.symbol, false, s.symbol === config.market_symbol)));
  } catch {
    return setTimeout(start, 500);
  }
  dress();
  touch("market", "orders", "fills", "positions", "link");
  connect();
  poll();
}
addEventListener("resize", () => touch("market"));
matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => touch("market"));
start();
