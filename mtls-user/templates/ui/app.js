// The page of `mtls ui`. Text comes into it as text, never as markup.

const MOST_TAPPED = 200;
const form = document.getElementById("filters");
const at = (id) => document.getElementById(id);

/** An element with text in it. */
function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function say(id, text) {
  at(id).textContent = text;
  at(id).hidden = !text;
}

/** The filters as a query; those that are empty are left out. */
function query() {
  const asked = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    if (value.trim()) asked.append(name, value.trim());
  }
  return asked;
}

async function ask(path, asked) {
  const answer = await fetch(`api/${path}?${asked ?? ""}`);
  const text = await answer.text();
  if (!answer.ok) throw Object.assign(new Error(text || answer.statusText), { status: answer.status });
  return text;
}

// The table and the graph.

let asking = 0;
let selected = "";

async function refresh() {
  const own = ++asking;
  try {
    const [table, graph] = await Promise.all([ask("edges", query()), ask("graph.svg", query())]);
    // A later question has been asked meanwhile.
    if (own !== asking) return;
    say("wrong", "");
    showTable(JSON.parse(table));
    showGraph(graph);
  } catch (error) {
    if (own === asking) say(error.status === 400 ? "wrong" : "trouble", error.message);
  }
}

function showTable(table) {
  at("summary").textContent = table.summary;
  const rest = table.taken > table.rows.length ? `, the first ${table.rows.length} of them shown` : "";
  at("count").textContent = `${table.taken} of ${table.edges} edges${rest}`;
  const rows = table.rows.map((row) => {
    const line = element("tr");
    row.cells.forEach((cell, column) => {
      const place = element("td");
      if (column === 2) {
        const button = element("button", cell, "link");
        button.type = "button";
        button.title = `explain ${row.id}`;
        place.append(button);
      } else if (column === 4) {
        place.append(element("span", cell, `mark ${row.class}`));
      } else {
        place.textContent = cell;
      }
      line.append(place);
    });
    line.dataset.edge = row.id;
    line.classList.toggle("selected", row.id === selected);
    return line;
  });
  const focused = document.activeElement?.closest?.("#edges tr")?.dataset.edge;
  at("edges").tBodies[0].replaceChildren(...rows);
  if (focused) rows.find((row) => row.dataset.edge === focused)?.querySelector("button")?.focus();
  const choice = form.elements.namespace;
  const names = [...choice.options].map((option) => option.value).filter(Boolean);
  if (names.join("\n") !== table.namespaces.join("\n")) {
    const own = choice.value;
    const options = table.namespaces.map((name) => new Option(name, name));
    choice.replaceChildren(new Option("all", ""), ...options);
    choice.value = table.namespaces.includes(own) ? own : "";
  }
}

function showGraph(text) {
  const drawn = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
  at("graph").replaceChildren(document.importNode(drawn, true));
}

function filterBy(values) {
  for (const [name, value] of Object.entries(values)) form.elements[name].value = value;
  changed();
}

at("graph").addEventListener("click", (event) => {
  const line = event.target.closest(".line");
  const box = event.target.closest(".box");
  if (line) filterBy({ from: line.dataset.from, to: line.dataset.to });
  else if (box) filterBy({ from: "", to: box.dataset.end });
});

// The explanation.

at("edges").addEventListener("click", (event) => {
  const edge = event.target.closest("tbody tr")?.dataset.edge;
  if (edge) explain(edge);
});

async function explain(edge) {
  selected = edge;
  for (const row of at("edges").tBodies[0].rows) row.classList.toggle("selected", row.dataset.edge === edge);
  at("explanation").hidden = false;
  at("explained").textContent = `${edge} …`;
  at("steps").replaceChildren();
  try {
    const explained = JSON.parse(await ask("explain", new URLSearchParams({ edge })));
    if (selected !== edge) return;
    at("explained").textContent = explained.summary;
    for (const [title, lines] of [
      ["Evidence", explained.evidence],
      ["Not seen", explained.not_seen],
      ["What would change the verdict", explained.would_change],
      ["What to do next", explained.next],
    ]) {
      if (lines.length === 0) continue;
      const list = element("ol");
      list.append(...lines.map((line) => element("li", line)));
      at("steps").append(element("h3", title), list);
    }
  } catch (error) {
    at("explained").textContent = error.message;
  }
  at("explanation").scrollIntoView({ block: "nearest" });
}

at("close").addEventListener("click", () => {
  selected = "";
  at("explanation").hidden = true;
  for (const row of at("edges").tBodies[0].rows) row.classList.remove("selected");
});

// The tap.

let tap = null;

function stopTap(why) {
  tap?.close();
  tap = null;
  at("tapping").textContent = "Start";
  at("tapping").setAttribute("aria-pressed", "false");
  at("tap-state").textContent = why;
}

function startTap() {
  const asked = query();
  asked.delete("q");
  tap = new EventSource(`api/tap?${asked}`);
  at("tapping").textContent = "Stop";
  at("tapping").setAttribute("aria-pressed", "true");
  at("tap-state").textContent = "waiting for connections";
  const add = (text, className) => {
    at("tap").prepend(element("li", text, className));
    while (at("tap").childElementCount > MOST_TAPPED) at("tap").lastChild.remove();
  };
  tap.addEventListener("message", (event) => {
    const tapped = JSON.parse(event.data);
    at("tap-state").textContent = `the latest first, at most ${MOST_TAPPED}`;
    add(tapped.line, `mark ${tapped.class}`);
  });
  tap.addEventListener("missed", (event) => add(event.data, "missed"));
  tap.addEventListener("trouble", (event) => stopTap(event.data));
  tap.addEventListener("error", () => {
    if (tap?.readyState === EventSource.CLOSED) stopTap("the tap has ended");
  });
}

at("tapping").addEventListener("click", () => (tap ? stopTap("stopped") : startTap()));

// Coverage.

async function coverage() {
  try {
    const { facts, gaps } = JSON.parse(await ask("coverage"));
    at("facts").tBodies[0].replaceChildren(
      ...facts.map(([name, value]) => {
        const row = element("tr");
        const head = element("th", name);
        head.scope = "row";
        row.append(head, element("td", value));
        return row;
      }),
    );
    at("gaps").replaceChildren(...gaps.map((gap) => element("li", gap)));
  } catch (error) {
    at("gaps").replaceChildren(element("li", error.message));
  }
}

// Filters are asked for as they are typed.

let typing = 0;

function changed() {
  refresh();
  if (tap) {
    stopTap("");
    startTap();
  }
}

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(changed, 120);
});
form.addEventListener("reset", () => setTimeout(changed));

const events = new EventSource("api/events");
events.addEventListener("edges", () => {
  say("trouble", "");
  refresh();
  coverage();
});
events.addEventListener("trouble", (event) => say("trouble", event.data));
events.addEventListener("error", () => say("trouble", "`mtls ui` does not answer: it may have been ended"));

refresh();
coverage();
setInterval(coverage, 15000);
