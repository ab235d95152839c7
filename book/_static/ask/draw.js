// What the page shows of an answer: probabilities, histograms with a mark, and the row of verdicts along the slider.

const element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};

export const verdict = (isIn) => (isIn ? "● in" : "○ out");
const verdictElement = (isIn) => element("b", { class: isIn ? "ask-in" : "ask-out" }, verdict(isIn));
const percent = (p) => `${(100 * p).toFixed(p > 0.9995 || p < 0.0005 ? 2 : 1)}\u00a0%`;
export const number = (x) => x.toPrecision(3).replace("-", "−");

// columns: [{ title, values: probabilities of the classes }]; the first is drawn filled, a second one hollow.
export function probabilities(classes, columns) {
  const best = columns[0].values.indexOf(Math.max(...columns[0].values));
  const head = element("tr", {}, element("th", { scope: "col" }, "class"), element("td", { "aria-hidden": "true" }),
    ...columns.map(({ title }) => element("th", { scope: "col" }, title)));
  const rows = classes.map((name, k) => element("tr", k === best ? { class: "ask-best" } : {},
    element("th", { scope: "row" }, name),
    element("td", { class: "ask-bars", "aria-hidden": "true" },
      ...columns.map(({ values }) => element("i", { style: `width:${100 * values[k]}%` }))),
    ...columns.map(({ values }) => element("td", {}, percent(values[k])))));
  return element("table", { class: "ask-probabilities" }, element("caption", {}, "Probabilities"),
    element("thead", {}, head), element("tbody", {}, ...rows));
}

// A score's histograms and where this image stands. measured: an entry of ask.json's scores.
export function histogram(measured, value) {
  const isIn = value >= measured.threshold;
  const place = (x) => 100 * Math.min(1, Math.max(0, (x - measured.low) / (measured.high - measured.low)));
  // Square roots: the highest bins would leave nothing of the others.
  const top = Math.sqrt(Math.max(...measured.id, ...measured.ood));
  const outline = (shares) => `M0,40${shares.map((share, i) => {
    const y = (40 * (1 - Math.sqrt(share) / top)).toFixed(2);
    return `L${i},${y}L${i + 1},${y}`;
  }).join("")}L${shares.length},40`;
  const svg = `<svg viewBox="0 0 ${measured.id.length} 40" preserveAspectRatio="none" aria-hidden="true">
    <path class="ask-id" d="${outline(measured.id)}Z"/><path class="ask-ood" d="${outline(measured.ood)}"/></svg>`;
  const plot = element("div", { class: "ask-plot" });
  plot.innerHTML = svg;
  plot.append(element("span", { class: "ask-threshold", style: `left:${place(measured.threshold)}%` }),
    element("span", { class: "ask-mark", style: `left:${place(value)}%` }, "▼"));
  return element("div", { class: "ask-score", "data-score": measured.name },
    element("p", {}, `${measured.title}: `, element("span", { "data-value": measured.name }, number(value)), " ",
      verdictElement(isIn)),
    plot,
    element("p", { class: "ask-small" }, `threshold ${number(measured.threshold)}; of the foreign images `
      + `${measured.passes.toFixed(0)} % pass`));
}

// One cell a level: accepted or not, the level of the slider framed.
export function strip(verdicts, level, amount) {
  const cells = verdicts.map((isIn, i) => element("span",
    { class: `${isIn ? "ask-in" : "ask-out"}${i === level ? " ask-now" : ""}` }, isIn ? "●" : "○"));
  const first = verdicts.indexOf(false);
  const said = first === -1 ? "accepts it at every level" : first === 0 ? "rejects it unchanged"
    : `first rejects it at level ${first} (${amount(first)})`;
  return [element("span", { class: "ask-cells", "aria-hidden": "true" }, ...cells), element("span", { class: "ask-small" }, said)];
}

export function card(network) {
  const part = (name) => element("div", { "data-part": name });
  const open = matchMedia("(min-width: 601px)").matches ? { open: "" } : {}; // a telephone is short
  return element("article", { class: "ask-card", "data-method": network.method, "aria-label": network.title },
    element("h2", {}, network.title), part("verdict"), part("strip"),
    element("details", open, element("summary", {}, "Probabilities and scores"), part("probabilities"), part("norm"), part("scores")));
}

// Fill a card with an answer. scores: name -> value; columns: see probabilities.
export function fill(made, network, classes, { scores, columns, norm }) {
  const put = (name, ...children) => made.querySelector(`[data-part="${name}"]`).replaceChildren(...children);
  const [main] = network.scores;
  const top = Math.max(...columns[0].values);
  put("verdict", element("p", { class: "ask-verdict" }, verdictElement(scores[main.name] >= main.threshold)),
    element("p", {}, `${classes[columns[0].values.indexOf(top)]}, ${percent(top)}`));
  put("probabilities", probabilities(classes, columns));
  put("norm", element("p", {}, "Norm of the logits: ", element("span", { "data-value": "norm" }, number(norm))));
  put("scores", ...network.scores.map((measured) => histogram(measured, scores[measured.name])));
}
