// Connects the controls, the numbers and the Bokeh plots of the explorers that logitnorm.book.explorers writes.
(function () {
  "use strict";

  const START = { threshold: startThreshold, norm: startNorm };

  function percent(count, n) {
    return `${(100 * count / n).toFixed(2)} %`;
  }

  function small(x) {
    return x !== 0 && Math.abs(x) < 1e-3 ? x.toExponential(3) : x.toFixed(4);
  }

  async function embed(items) {
    // Returns write(name, columns) per plot, and its model.
    const plots = [];
    for (const item of items) {
      const views = await window.Bokeh.embed.embed_item(item);
      const model = views.roots[0].model;
      const write = (name, data) => { model.document.get_model_by_name(name).data = data; };
      plots.push({ model, write });
    }
    return plots;
  }

  function parts(block) {
    const control = (name) => block.querySelector(`[data-control="${name}"]`);
    const say = (text) => { block.querySelector(".explorer-said").textContent = text; };
    const value = (name, text) => { block.querySelector(`[data-value="${name}"]`).textContent = text; };
    const shown = (name, text) => {
      block.querySelector(`[data-shown="${name}"]`).textContent = text;
      control(name).setAttribute("aria-valuetext", text);
    };
    return { control, say, value, shown };
  }

  function refill(select, titles) {
    // Another list of choices; keeps the chosen one where the new list has it.
    const before = select.selectedOptions.length ? select.selectedOptions[0].textContent : "";
    if ([...select.options].map((option) => option.textContent).join("\n") === titles.join("\n")) return;
    select.replaceChildren(...titles.map((title, i) => new Option(title, i)));
    select.selectedIndex = Math.max(0, titles.indexOf(before));
  }

  async function startThreshold(block, { data, items }) {
    const { control, say, value, shown } = parts(block);
    for (const score of data.runs.flatMap((run) => run.scores)) {
      for (const images of [score.id, ...score.sets]) {
        let sum = 0;
        images.accepted = images.added.map((count) => (sum += count));
      }
    }
    const [histogram, roc] = await embed(items);

    function update() {
      const run = data.runs[control("run").value];
      refill(control("score"), run.scores.map((entry) => entry.title));
      const score = run.scores[control("score").value];
      refill(control("set"), score.sets.map((entry) => entry.title));
      const id = score.id, ood = score.sets[control("set").value];
      const j = Number(control("position").value) - 1;
      const tpr = percent(id.accepted[j], id.n), fpr = percent(ood.accepted[j], ood.n);

      shown("position", `${(100 * (j + 1) / data.steps).toFixed(1)} %`);
      value("threshold", String(score.thresholds[j]));
      value("tpr", tpr);
      value("fpr", fpr);
      value("auroc", `${ood.auroc.toFixed(2)} %`);
      say(`This threshold accepts ${tpr} of ${id.title} and ${fpr} of ${ood.title}.`);

      const bins = id.histogram.length, width = (score.high - score.low) / bins;
      const left = id.histogram.map((_, i) => score.low + i * width);
      const right = left.map((x) => x + width);
      const tops = [id, ood].map((images) => images.histogram.map((count) => 100 * count / images.n));
      const top = 1.05 * Math.max(...tops.flat());
      histogram.model.x_range.setv({ start: score.low, end: score.high });
      histogram.model.y_range.setv({ start: 0, end: top });
      histogram.write("id", { left, right, top: tops[0] });
      histogram.write("ood", { left, right, top: tops[1] });
      const at = Math.min(Math.max(score.thresholds[j], score.low), score.high);
      histogram.write("threshold", { x: [at, at], y: [0, top] });
      histogram.model.below[0].axis_label = score.title;

      const share = (images) => [0, ...images.accepted.map((count) => 100 * count / images.n), 100];
      roc.write("roc", { fpr: share(ood), tpr: share(id) });
      roc.write("point", { fpr: [100 * ood.accepted[j] / ood.n], tpr: [100 * id.accepted[j] / id.n] });
    }
    return update;
  }

  function exampleLogits(norm, angle, K) {
    // As logitnorm.book.explorers.example_logits.
    const length = (v) => Math.hypot(...v);
    const best = Array.from({ length: K }, (_, k) => (k === 0 ? 1 : -1 / (K - 1)));
    const rival = Array.from({ length: K }, (_, k) => (k === 0 ? 0 : k === 1 ? 1 : -1 / (K - 2)));
    const turn = angle * Math.PI / 180, b = length(best), r = length(rival);
    return best.map((_, k) => norm * (Math.cos(turn) * best[k] / b + Math.sin(turn) * rival[k] / r));
  }

  function softmax(f) {
    const top = Math.max(...f), e = f.map((x) => Math.exp(x - top)), sum = e.reduce((a, b) => a + b, 0);
    return e.map((x) => x / sum);
  }

  function loss(f) {
    // Cross-entropy of class 0, without cancellation where it is tiny: log(1 + sum of exp(f_k - f_0)).
    const rest = f.slice(1).map((x) => x - f[0]), top = Math.max(0, ...rest);
    const sum = rest.reduce((total, d) => total + Math.exp(d - top), 0);
    return top === 0 ? Math.log1p(sum) : top + Math.log(Math.exp(-top) + sum);
  }

  async function startNorm(block, { data, items }) {
    const { control, say, value, shown } = parts(block);
    const [bars, curves] = await embed(items);

    function update() {
      const norm = data.norms[control("norm").value], tau = data.taus[control("tau").value];
      const angle = Number(control("angle").value);
      const K = Number(control("classes").selectedOptions[0].textContent);
      const f = exampleLogits(norm, angle, K);
      const normalised = (g, length) => g.map((x) => x / (tau * (length + data.eps)));
      const p = softmax(f), q = softmax(normalised(f, norm));
      const ce = loss(f), ln = loss(normalised(f, norm));
      const printed = Math.log1p((K - 1) * Math.exp(-2 / tau));
      const infimum = Math.log1p((K - 1) * Math.exp(-Math.sqrt(K / (K - 1)) / tau));

      shown("norm", String(norm));
      shown("tau", String(tau));
      shown("angle", `${angle}°`);
      value("ce_probability", Math.max(...p).toFixed(4));
      value("ln_probability", Math.max(...q).toFixed(4));
      value("ce_loss", small(ce));
      value("ln_loss", small(ln));
      value("zero", "0");
      value("none", "–");
      value("infimum", small(infimum));
      value("printed", small(printed));
      say(`Norm ${norm}, τ ${tau}, ${angle}°: cross-entropy ${small(ce)} nats, LogitNorm ${small(ln)} nats.`);

      const shownClasses = [...Array(10).keys()];
      bars.write("ce", { x: shownClasses.map((k) => k - 0.2), top: shownClasses.map((k) => p[k]) });
      bars.write("ln", { x: shownClasses.map((k) => k + 0.2), top: shownClasses.map((k) => q[k]) });

      const xs = Array.from({ length: 121 }, (_, i) => 10 ** (-1 + i / 40));
      const along = xs.map((x) => exampleLogits(x, angle, K));
      const ends = [xs[0], xs[xs.length - 1]];
      curves.write("ce", { x: xs, y: along.map(loss) });
      curves.write("ln", { x: xs, y: along.map((g, i) => loss(normalised(g, xs[i]))) });
      curves.write("infimum", { x: ends, y: [infimum, infimum] });
      curves.write("printed", { x: ends, y: [printed, printed] });
      curves.write("ce_point", { x: [norm], y: [ce] });
      curves.write("ln_point", { x: [norm], y: [ln] });
    }
    return update;
  }

  async function start(block) {
    const content = JSON.parse(block.querySelector('script[type="application/json"]').textContent);
    const update = await START[block.dataset.explorer](block, content);
    update();
    for (const control of block.querySelectorAll("[data-control]")) control.addEventListener("input", update);
    block.dataset.ready = "true";
  }

  for (const block of document.querySelectorAll("[data-explorer]:not([data-started])")) {
    if (!window.Bokeh) continue; // the block's own sentence says what is missing
    block.dataset.started = "true";
    start(block);
  }
})();
