// The page's own part: draws the figures, filters the samples, asks for progress where it is served.
const json = id => JSON.parse(document.getElementById(id).textContent);
const element = (tag, text, className) => {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
};

const dark = matchMedia("(prefers-color-scheme: dark)");
const specs = json("specs");

async function draw(paper = false) {
  if (!window.vegaEmbed) return;
  const night = dark.matches && !paper;
  const config = {
    background: "transparent",
    ...(night ? { title: { color: "#e6e8eb" }, style: { "guide-label": { fill: "#c5ccd5" }, "guide-title": { fill: "#e6e8eb" }, "group-title": { fill: "#e6e8eb" } }, axis: { domainColor: "#6b7480", tickColor: "#6b7480", gridColor: "#353b44" }, header: { labelColor: "#e6e8eb" }, view: { stroke: "#3a414b" } } : {}),
  };
  for (const figure of document.querySelectorAll("figure[data-plot]")) {
    const place = figure.querySelector(".plot");
    try {
      const drawn = await vegaEmbed(place, specs[+figure.dataset.plot], { actions: false, renderer: "svg", config });
      if (figure.view) figure.view.finalize();
      figure.view = drawn.view;
      figure.dataset.drawn = "yes";
    } catch (error) {
      place.textContent = "This figure could not be drawn: " + error.message;
      console.error(error);
    }
  }
  document.body.dataset.drawn = night ? "dark" : "light";
}
dark.addEventListener("change", () => draw());
addEventListener("beforeprint", () => dark.matches && draw(true));
addEventListener("afterprint", () => dark.matches && draw());
draw();

// ---- samples
const tasks = json("sample-data");
const form = document.querySelector(".filters"), list = document.querySelector(".items"), count = document.querySelector(".count");
const pages = document.querySelector(".pages"), perPage = 25;
let shown = [], page = 0;
const marks = { 1: ["✓", "right"], 0: ["✗", "wrong"], u: ["?", "unparsed"], v: ["·", ""], "-": ["–", ""] };
const score = (item, column) => (item.v ? item.v[column] : item.s[column] === "1" ? 1 : 0);
const answered = (item, column) => item.s[column] !== "-";

const tests = {
  disagree: (item, a, b) => answered(item, a) && answered(item, b) && score(item, a) !== score(item, b),
  a: (item, a, b) => tests.disagree(item, a, b) && score(item, a) > score(item, b),
  b: (item, a, b) => tests.disagree(item, a, b) && score(item, b) > score(item, a),
  any: item => new Set([...item.s].map((letter, column) => letter === "-" ? null : score(item, column)).filter(value => value !== null)).size > 1,
  unparsed: (item, a, b) => item.s[a] === "u" || item.s[b] === "u",
  wrong: (item, a, b) => answered(item, a) && answered(item, b) && score(item, a) < 1 && score(item, b) < 1,
  all: () => true,
};

function mark(item, column) {
  const [sign, className] = marks[item.s[column]];
  const text = item.s[column] === "v" ? score(item, column).toFixed(2) : sign;
  const node = element("span", text, className);
  node.title = className || "score";
  return node;
}

function details(item, task, a, b) {
  const node = element("details"), summary = element("summary");
  summary.append(mark(item, a), mark(item, b), element("strong", item.id), element("span", (item.p || "").replace(/\s+/g, " ").slice(-160), "text"));
  node.append(summary);
  node.addEventListener("toggle", () => {
    if (!node.open || node.childElementCount > 1) return;
    for (const uri of item.m || []) {
      const image = element("img");
      image.src = uri;
      image.alt = "picture of item " + item.id;
      node.append(image);
    }
    if (item.p === undefined) return node.append(element("p", "The texts are left out of this page to keep it small; they are in the run's samples folder.", "note"));
    node.append(element("pre", item.p), element("p", "right answer: " + item.g));
    const table = element("table"), head = element("tr");
    for (const name of ["method", "", "answer", "raw output"]) head.append(element("th", name));
    const top = element("thead");
    top.append(head);
    const body = element("tbody");
    for (const column of [a, b, ...task.columns.keys()].filter((value, at, all) => all.indexOf(value) === at && answered(item, value))) {
      const row = element("tr"), texts = item.t[item.a[column]] || ["", ""], cell = element("td");
      cell.append(mark(item, column));
      row.append(element("th", task.columns[column].label), cell, element("td", texts[0]), element("td", texts[1]));
      body.append(row);
    }
    table.append(top, body);
    node.append(table);
  });
  return node;
}

function render() {
  const task = tasks[form.task.value], a = +form.a.value, b = +form.b.value;
  list.replaceChildren(...shown.slice(page * perPage, (page + 1) * perPage).map(item => details(item, task, a, b)));
  const last = Math.max(0, Math.ceil(shown.length / perPage) - 1);
  pages.querySelector("span").textContent = `page ${page + 1} of ${last + 1}`;
  pages.querySelector(".previous").disabled = page === 0;
  pages.querySelector(".next").disabled = page >= last;
}

function filter() {
  const task = tasks[form.task.value];
  if (!task) return;
  const a = +form.a.value, b = +form.b.value, wanted = form.text.value.toLowerCase(), test = tests[form.show.value];
  const holds = item => !wanted || [item.id, item.p, item.g, ...(item.t || []).flat()].some(text => (text || "").toLowerCase().includes(wanted));
  shown = task.items.filter(item => test(item, a, b) && holds(item));
  page = 0;
  const out = task.left_out;
  count.textContent = `${shown.length} of ${task.items.length} listed items` + (out.agreeing ? `; ${out.agreeing} on which all agree are left out` : "") + (out.texts ? `; ${out.texts} stand without their texts` : "");
  render();
}

function fillColumns() {
  const task = tasks[form.task.value];
  if (!task) return;
  for (const name of ["a", "b"])
    form[name].replaceChildren(...task.columns.map((column, at) => new Option(`${column.label} (seed ${column.seed})`, at)));
  form.b.selectedIndex = Math.min(1, task.columns.length - 1);
  filter();
}

form.task.replaceChildren(...tasks.map((task, at) => new Option(tasks.some(other => other.backbone !== task.backbone) ? `${task.backbone}: ${task.task}` : task.task, at)));
form.addEventListener("submit", event => event.preventDefault());
form.addEventListener("reset", () => setTimeout(fillColumns));
form.addEventListener("input", event => (event.target === form.task ? fillColumns() : filter()));
pages.querySelector(".previous").addEventListener("click", () => { --page; render(); });
pages.querySelector(".next").addEventListener("click", () => { ++page; render(); });
if (tasks.length) fillColumns();
else count.textContent = "These runs have no samples.";

// ---- progress, where the page is served
if ("live" in document.body.dataset) {
  const section = document.getElementById("progress"), state = section.querySelector(".state"), table = section.querySelector("table");
  const look = async () => {
    try {
      const progress = await (await fetch("progress.json", { cache: "no-store" })).json();
      state.textContent = `${progress.done} runs are done; ${progress.runs.filter(run => run.working).length} are being worked on; ${progress.runs.filter(run => !run.working).length} wait or failed.`;
      if (progress.stamp !== document.body.dataset.stamp) {
        const button = element("button", "Show the new results");
        button.addEventListener("click", () => location.reload());
        state.append(" ", button);
      }
      table.hidden = progress.runs.length === 0;
      table.tBodies[0].replaceChildren(...progress.runs.map(run => {
        const row = element("tr"), step = element("td");
        if (run.step !== null && run.steps !== null) {
          const bar = element("progress");
          bar.max = run.steps;
          bar.value = run.step;
          step.append(bar, ` ${run.step} of ${run.steps}`);
        } else step.textContent = run.step ?? "–";
        const answers = Object.entries(run.answers).map(([task, n]) => `${task} ${n}`).join(", ");
        row.append(element("th", run.id), element("td", run.method + (run.rank ? " r" + run.rank : "")), element("td", run.seed), element("td", run.working ? "working" : run.status + (run.error ? ": " + run.error : "")), step, element("td", run.loss === null ? "–" : run.loss.toPrecision(4)), element("td", answers || "–"));
        return row;
      }));
    } catch (error) {
      state.textContent = "The server does not answer; the page shows what it knew.";
    }
    setTimeout(look, 2000);
  };
  look();
}
