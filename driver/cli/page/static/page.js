// The page of a driver: it follows /events and shows what it is told. Every text becomes a text node,
// so no name is ever read as HTML.

const ROWS = 100; // of the table of volumes
const TREES = 100;
const CALLS = 200;
const ALERTS = 100;
const lists = {
  pools: new Map(), nodes: new Map(), volumes: new Map(), snapshots: new Map(), copies: new Map(), conditions: new Map(),
};
const calls = new Map();
const view = { search: "", pool: "", unhealthy: false, failed: false, sort: "claim", down: false, page: 0 };

const $ = (id) => document.getElementById(id);

function el(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class") element.className = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
}

// Make `elements` the children of `parent`, and move as few as possible. What has the focus keeps it, also
// if another element with the same data-focus takes its place.
function show(parent, elements) {
  const active = parent.contains(document.activeElement) ? document.activeElement : null;
  const kept = new Set(elements);
  for (const child of [...parent.children]) if (!kept.has(child)) child.remove();
  elements.forEach((element, index) => {
    if (parent.children[index] !== element) parent.insertBefore(element, parent.children[index] || null);
  });
  if (active && document.activeElement !== active) {
    const again = active.isConnected ? active : parent.querySelector(`[data-focus="${CSS.escape(active.dataset.focus || "")}"]`);
    if (again) again.focus({ preventScroll: true });
  }
}

function human(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let value = bytes || 0, unit = 0;
  while (value >= 1023.95 && unit < units.length - 1) { value /= 1024; unit += 1; }
  return `${value.toFixed(1).replace(/\.0$/, "")} ${units[unit]}`;
}

const number = (value) => value.toLocaleString("en");
const plural = (count, word) => `${number(count)} ${word}${count === 1 ? "" : "s"}`;
const claimOf = (row) => (row.claim ? `${row.namespace || ""}/${row.claim}` : "");
const nameOf = (row) => claimOf(row) || row.name || row.id;
const short = (id) => `${id.slice(0, 21)}…`;
const percent = (share) => `${Math.round(100 * share)} %`;
const openVolume = (id) => { location.hash = `volume=${id}`; };
const took = (seconds) => (seconds < 1 ? `${(seconds * 1000).toFixed(1)} ms` : `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`);

// --- alerts

const URGENCY = { critical: 0, warning: 1, info: 2 };

function alertItem(row) {
  const volume = lists.volumes.get(row.volume_id);
  const name = row.volume_id ? (volume ? nameOf(volume) : short(row.volume_id)) : "";
  return el("li", { class: row.severity },
    el("span", { class: "badge" }, row.severity),
    el("span", { class: "text" },
      name ? el("button", { type: "button", class: "link", "data-focus": `${row.alert}/${row.volume_id}`, onclick: () => openVolume(row.volume_id) }, name) : null,
      name ? ": " : null, row.text),
    el("span", { class: "kind" }, [row.node, row.alert].filter(Boolean).join(" · ")));
}

function showAlerts() {
  const rows = [...lists.conditions.values()].sort((a, b) => URGENCY[a.severity] - URGENCY[b.severity]);
  const more = rows.length - ALERTS;
  $("alert-count").textContent = number(rows.length);
  const items = rows.slice(0, ALERTS).map(alertItem);
  if (more > 0) items.push(el("li", {}, `and ${number(more)} more`));
  if (!rows.length) items.push(el("li", { class: "none" }, "Nothing is wrong with the driver, its pools and its volumes."));
  show($("alert-list"), items);
  const critical = rows.filter((row) => row.severity === "critical").length;
  document.title = critical ? `(${critical}) Cellar` : "Cellar";
}

// --- pools and nodes

function gauge(name, share, text) {
  return el("div", { class: "gauge" },
    el("span", {}, name), el("span", { class: "number" }, text), bar(share, `${name}: ${text}`));
}

function bar(share, label) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const rect = document.createElementNS(space, "rect");
  svg.setAttribute("class", share > 0.9 ? "bar full" : "bar");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("viewBox", "0 0 100 1");
  rect.setAttribute("width", String(Math.min(100, 100 * share)));
  rect.setAttribute("height", "1");
  svg.append(rect);
  return svg;
}

function fact(name, value) {
  return el("div", {}, el("dt", {}, name), el("dd", {}, value));
}

function poolCard(row) {
  const title = el("h3", {}, row.name, el("span", {}, [row.node, row.type].filter(Boolean).join(" · ")));
  const where = el("p", { class: "where" }, row.type === "memory" ? "in memory" : row.where);
  if (row.away) return el("li", { class: "bad" }, title, where, el("p", { class: "why" }, `Unavailable: ${row.away}`));
  const share = row.size_bytes ? row.committed_bytes / row.size_bytes : 0;
  const free = Math.max(0, row.size_bytes - row.committed_bytes);
  return el("li", {}, title, where,
    gauge("Promised", share, `${human(row.committed_bytes)} of ${human(row.size_bytes)}, ${percent(share)}`),
    row.occupied === null ? null : gauge("Used", row.occupied, `${percent(row.occupied)} of its ${row.type === "lvm" ? "data" : "filesystem"}`),
    el("dl", { class: "facts" },
      fact("Free", human(free)), fact("Largest new", human(row.largest_bytes)),
      fact("Volumes", number(row.volumes)), fact("Snapshots", number(row.snapshots))));
}

function showPools() {
  const rows = [...lists.pools.values()].sort((a, b) => (Boolean(b.away) - Boolean(a.away)) || `${a.node}/${a.name}`.localeCompare(`${b.node}/${b.name}`));
  $("pool-count").textContent = number(rows.length);
  show($("pool-cards"), rows.slice(0, 200).map(poolCard));
  const names = [...new Set(rows.map((row) => row.name))].sort();
  if ($("pool-filter").dataset.names !== names.join()) {
    $("pool-filter").dataset.names = names.join();
    $("pool-filter").replaceChildren(el("option", { value: "" }, "all"), ...names.map((name) => el("option", { value: name }, name)));
    $("pool-filter").value = view.pool;
  }
}

function showNodes() {
  const rows = [...lists.nodes.values()].sort((a, b) => (a.reachable - b.reachable) || a.name.localeCompare(b.name));
  $("nodes").hidden = $("to-nodes").hidden = rows.length === 0;
  $("node-count").textContent = number(rows.length);
  show($("node-rows"), rows.slice(0, 500).map((row) => el("tr", {},
    el("th", { scope: "row" }, row.name),
    el("td", {}, el("span", { class: row.reachable ? "" : "bad" }, row.reachable ? "ready" : "unreachable"), row.cordoned ? ", cordoned" : ""),
    el("td", {}, row.version || "?"),
    el("td", {}, row.seen_seconds_ago === null ? "never" : `${row.seen_seconds_ago} s ago`),
    el("td", {}, row.pools.map((pool) => (row.unavailable_pools.includes(pool) ? `${pool} (unavailable)` : pool)).join(", ") || "-"),
    el("td", { class: "bad-text" }, row.problem || ""))));
}

// --- volumes

const COLUMNS = [
  { key: "claim", title: "Claim", value: (row) => nameOf(row) },
  { key: "pool", title: "Pool", value: (row) => row.pool || "" },
  { key: "size", title: "Size", value: (row) => row.size_bytes || 0, number: true },
  { key: "contents", title: "Contents", value: (row) => row.filesystem || "block" },
  { key: "nodes", title: "Attached to", value: (row) => (row.nodes || []).join(", ") },
  { key: "created", title: "Created", value: (row) => row.created || "" },
  { key: "health", title: "Health", value: (row) => (row.abnormal ? row.condition : "ok") },
  { key: "id", title: "Id", value: (row) => row.id },
];

function showHead() {
  show($("volume-head"), COLUMNS.map((column) => {
    const sort = view.sort === column.key ? (view.down ? "descending" : "ascending") : undefined;
    return el("th", { scope: "col", class: column.number ? "number" : "", "aria-sort": sort },
      el("button", { type: "button", "data-focus": column.key, onclick: () => sortBy(column.key) }, column.title));
  }));
}

function sortBy(key) {
  view.down = view.sort === key ? !view.down : key === "health";
  view.sort = key;
  view.page = 0;
  showHead();
  later(showVolumes);
}

function matches(row, words) {
  if (view.pool && row.pool !== view.pool) return false;
  if (view.unhealthy && !row.abnormal) return false;
  if (!words.length) return true;
  const text = `${claimOf(row)} ${row.name || ""} ${row.id} ${(row.nodes || []).join(" ")} ${row.condition || ""}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

function selectedVolumes() {
  const words = view.search.toLowerCase().split(/\s+/).filter(Boolean);
  const { value, number: numeric } = COLUMNS.find((column) => column.key === view.sort);
  const direction = view.down ? -1 : 1;
  const order = view.sort === "health"
    ? (a, b) => Boolean(a.abnormal) - Boolean(b.abnormal)
    : numeric ? (a, b) => value(a) - value(b) : (a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0);
  return [...lists.volumes.values()].filter((row) => matches(row, words)).sort((a, b) => direction * order(a, b));
}

const drawn = new Map(); // what was made of each row, as long as it is shown and the same

function volumeRow(row) {
  const made = drawn.get(row.id);
  return made && made.row === row ? made : { row, element: newVolumeRow(row) };
}

function newVolumeRow(row) {
  const health = row.abnormal ? el("span", { class: "bad" }, row.condition || "unhealthy") : "ok";
  return el("tr", {},
    el("td", {}, el("button", { type: "button", class: "link", "data-focus": row.id, onclick: () => openVolume(row.id) }, nameOf(row))),
    el("td", {}, row.pool || "?"),
    el("td", { class: "number" }, human(row.size_bytes)),
    el("td", {}, row.filesystem || "block"),
    el("td", {}, (row.nodes || []).join(", ") || "-"),
    el("td", {}, (row.created || "?").slice(0, 16).replace("T", " ")),
    el("td", {}, health),
    el("td", { class: "id", title: row.id }, short(row.id)));
}

function showVolumes() {
  const rows = selectedVolumes();
  const pages = Math.max(1, Math.ceil(rows.length / ROWS));
  view.page = Math.min(view.page, pages - 1);
  const total = lists.volumes.size;
  $("volume-count").textContent = rows.length === total ? number(total) : `${number(rows.length)} of ${number(total)}`;
  const made = rows.slice(view.page * ROWS, (view.page + 1) * ROWS).map(volumeRow);
  drawn.clear();
  for (const each of made) drawn.set(each.row.id, each);
  show($("volume-rows"), made.map((each) => each.element));
  $("page-number").textContent = `Page ${view.page + 1} of ${number(pages)}`;
  $("previous").disabled = view.page === 0;
  $("next").disabled = view.page >= pages - 1;
}

// --- what was made of what

function relatives() {
  const children = new Map();
  const add = (parent, row, kind) => { if (!children.has(parent)) children.set(parent, []); children.get(parent).push({ row, kind }); };
  for (const row of lists.snapshots.values()) add(row.source, row, "snapshot");
  for (const row of lists.volumes.values()) {
    if (row.source) add(row.source.split(" ")[1], row, row.source.startsWith("snapshot") ? "restored" : "clone");
  }
  return children;
}

function showTree() {
  const children = relatives();
  const branch = (id, label, kind, seen) => {
    const below = seen.has(id) ? [] : (children.get(id) || []);
    const nested = below.map(({ row, kind: kindOf }) => branch(row.id, row, kindOf, new Set([...seen, id])));
    const name = typeof label === "string" ? label : nameOf(label);
    const volume = lists.volumes.has(id);
    return el("li", {},
      volume ? el("button", { type: "button", class: "link", "data-focus": id, onclick: () => openVolume(id) }, name) : el("span", {}, name),
      el("span", { class: "kind" }, kind),
      nested.length ? el("ul", {}, ...nested) : null);
  };
  const known = (id) => lists.volumes.has(id) || lists.snapshots.has(id);
  const origin = (row) => (row.source || "").split(" ").pop();
  const roots = [...children.keys()].filter((id) => {
    const row = lists.volumes.get(id) || lists.snapshots.get(id);
    return !row || !origin(row) || !known(origin(row));
  });
  $("copy-count").textContent = plural(lists.snapshots.size, "snapshot");
  const items = roots.slice(0, TREES).map((id) => {
    const row = lists.volumes.get(id) || lists.snapshots.get(id);
    return branch(id, row || short(id), row ? "volume" : "deleted volume", new Set());
  });
  if (roots.length > TREES) items.push(el("li", {}, `and ${number(roots.length - TREES)} more volumes; \`cellar snapshots\` lists all`));
  if (!roots.length) items.push(el("li", {}, "No snapshots and no clones."));
  show($("tree"), items);
}

const ID = /[0-9a-f]{12}-[0-9a-f]{32}/g;

function namedIds(text) {
  return text.replace(ID, (id) => {
    const row = lists.volumes.get(id) || lists.snapshots.get(id);
    return row ? nameOf(row) : short(id);
  });
}

function showRunning() {
  show($("running"), [...lists.copies.values()].map((copy) => {
    const share = copy.total_bytes ? copy.copied_bytes / copy.total_bytes : 0;
    const text = `${human(copy.copied_bytes)} of ${human(copy.total_bytes)}, ${percent(Math.min(0.99, share))}`;
    const name = (copy.claim ? `${copy.claim}: ` : "") + namedIds(copy.text);
    return el("li", {},
      el("span", {}, name), el("span", { class: "kind" }, [copy.node, text, `for ${took(copy.seconds)}`].filter(Boolean).join(" · ")),
      el("progress", { max: 1, value: share, "aria-label": name }));
  }));
}

// --- calls

function callItem(call) {
  const failed = call.code !== "OK";
  const message = (title, value) => [el("p", { class: "label" }, title), el("pre", {}, value === null ? "not kept" : JSON.stringify(value, null, 2))];
  const details = el("details", {}, el("summary", {},
    el("span", { class: "time" }, call.ended.slice(11, 23)), el("span", { class: "took" }, took(call.seconds)),
    el("span", {}, call.rpc), el("span", { class: failed ? "bad-text" : "" }, call.code),
    el("span", { class: "about" }, call.error || call.about || "")));
  details.addEventListener("toggle", () => {
    if (!details.open || details.childElementCount > 1) return;
    details.append(el("div", { class: "body" },
      ...(call.error ? [el("p", { class: "label" }, "Error"), el("pre", {}, call.error)] : []),
      ...message("Request", call.request), ...message("Response", call.response)));
  });
  return el("li", { "data-call": call.key }, details);
}

function showCalls() {
  const list = $("call-list");
  const wanted = [...calls.values()].filter((call) => !view.failed || call.code !== "OK").reverse();
  const present = new Map([...list.children].map((item) => [item.dataset.call, item]));
  show(list, wanted.map((call) => present.get(call.key) || callItem(call)));
  $("call-count").textContent = number(wanted.length);
}

// --- one volume

async function showDetail(id) {
  const row = lists.volumes.get(id) || { id };
  $("detail-title").textContent = nameOf(row);
  $("detail-body").replaceChildren(el("p", { class: "hint" }, "Asking the driver"));
  if (!$("detail").open) $("detail").showModal();
  let known;
  try {
    known = await (await fetch(`/volumes/${encodeURIComponent(id)}`)).json();
  } catch (error) {
    known = { problem: String(error) };
  }
  if (location.hash !== `#volume=${id}`) return;
  $("detail-body").replaceChildren(...detail(row, known));
}

function detail(row, known) {
  const facts = [["Id", row.id], ["Claim", claimOf(row)], ["Name", row.name], ["Pool", known.pool || row.pool], ["Node", known.node],
    ["Size", human(row.size_bytes)], ["Contents", row.filesystem || "block"], ["Allocation", row.allocation],
    ["Created", row.created], ["Source", row.source]];
  if (known.problem) return [table(facts), el("p", { class: "bad-text" }, known.problem)];
  const { device, usage } = known;
  facts.push(["Written", `${human(known.written_bytes)}${known.extents ? `, extents: ${number(known.extents)}` : ""}`],
    ["Device", device ? `${device.path} (${device.number})${device.read_only ? ", read-only" : ""}` : "not attached"],
    ["Filesystem", usage ? `${human(usage.used_bytes)} of ${human(usage.total_bytes)} used` : "not mounted"],
    ["Used by", known.holders.join(", ")],
    ["Health", known.faults.map((fault) => `${fault.kind}: ${fault.text}`).join("; ") || "ok"]);
  const parts = [table(facts)];
  if (known.mounts.length) parts.push(el("h3", {}, "Mounts"), el("pre", {}, known.mounts.map((mount) => `${mount.path}  (${mount.staging ? "staging path" : mount.raw ? "raw device" : "pod"})  ${mount.options.join(",")}`).join("\n")));
  if (known.snapshots.length) parts.push(el("h3", {}, "Snapshots"), el("pre", {}, known.snapshots.join("\n")));
  if (known.clones.length) parts.push(el("h3", {}, "Clones"), el("pre", {}, known.clones.join("\n")));
  if (known.calls.length) {
    const items = known.calls.map((call) => callItem({ ...call, key: "" })).reverse();
    parts.push(el("h3", {}, "Last calls"), el("ol", { class: "calls" }, ...items));
  }
  return parts;
}

function table(facts) {
  return el("table", {}, el("tbody", {}, ...facts.filter(([, value]) => value).map(([name, value]) =>
    el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, String(value))))));
}

// --- events, and when to draw

const due = new Set();
let drawing = false;

function later(draw) {
  due.add(draw);
  if (drawing) return;
  drawing = true;
  setTimeout(() => {
    drawing = false;
    const draws = [...due];
    due.clear();
    for (const each of draws) each();
  }, 60);
}

const DRAWS = {
  pools: [showPools], nodes: [showNodes], volumes: [showVolumes, showTree, showAlerts, showRunning], snapshots: [showTree, showRunning],
  copies: [showRunning], conditions: [showAlerts],
};

function follow() {
  const source = new EventSource("/events");
  const on = (name, handle) => source.addEventListener(name, (event) => handle(JSON.parse(event.data)));
  on("begin", () => {
    for (const list of Object.values(lists)) list.clear();
    calls.clear();
    for (const draws of Object.values(DRAWS)) draws.forEach(later);
  });
  for (const [name, list] of Object.entries(lists)) {
    on(name, ({ rows = {}, gone = [] }) => {
      for (const [key, row] of Object.entries(rows)) list.set(key, row);
      gone.forEach((key) => list.delete(key));
      DRAWS[name].forEach(later);
    });
  }
  on("calls", (news) => {
    for (const call of news) {
      const key = `${call.number}@${call.ended}`;
      calls.set(key, { ...call, key });
    }
    for (const key of [...calls.keys()].slice(0, Math.max(0, calls.size - CALLS))) calls.delete(key);
    later(showCalls);
  });
  on("status", (status) => setStatus(status.problem, status.problem || `Live, ${plural(lists.pools.size, "pool")}, ${plural(lists.volumes.size, "volume")}`));
  source.onerror = () => setStatus("lost", "The page has lost its connection and tries again");
}

function setStatus(problem, text) {
  const status = $("status");
  status.className = problem ? "bad" : "live";
  if (status.textContent !== text) status.textContent = text;
}

function readHash() {
  const [name, value] = location.hash.slice(1).split("=");
  if (name === "volume") showDetail(decodeURIComponent(value || ""));
  if (name === "search") { $("search").value = view.search = decodeURIComponent(value || ""); later(showVolumes); }
}

$("filters").addEventListener("submit", (event) => event.preventDefault());
$("search").addEventListener("input", () => { view.search = $("search").value; view.page = 0; later(showVolumes); });
$("pool-filter").addEventListener("change", () => { view.pool = $("pool-filter").value; view.page = 0; later(showVolumes); });
$("unhealthy").addEventListener("change", () => { view.unhealthy = $("unhealthy").checked; view.page = 0; later(showVolumes); });
$("failed").addEventListener("change", () => { view.failed = $("failed").checked; later(showCalls); });
$("previous").addEventListener("click", () => { view.page -= 1; later(showVolumes); });
$("next").addEventListener("click", () => { view.page += 1; later(showVolumes); });
$("detail").addEventListener("close", () => { if (location.hash.startsWith("#volume=")) history.replaceState(null, "", "#volumes"); });
window.addEventListener("hashchange", readHash);
showHead();
follow();
readHash();
