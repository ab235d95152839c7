// Connects the controls, the numbers and the charts of the explorers that logitnorm.book.explorers writes.
(function () {
  "use strict";

  const START = { threshold: startThreshold, norm: startNorm, valley: startValley };

  function percent(count, n) {
    return `${(100 * count / n).toFixed(2)} %`;
  }

  function small(x) {
    return x !== 0 && Math.abs(x) < 1e-3 ? x.toExponential(3) : x.toFixed(4);
  }

  // ---- a chart: an SVG as wide as its place, drawn anew when a control or the width changes

  const HEIGHT = 320, MARGIN = { left: 60, right: 12, top: 8, bottom: 46 };

  function element(parent, name, attributes, text = "") {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    parent.append(made);
    return made;
  }

  function scale({ low, high, log }, start, end) {
    // From a value to a pixel. Far outside the axis all places are the same, so that zero has one on a logarithmic axis.
    const place = log ? (v) => Math.log10(Math.max(v, low / 1e6)) : (v) => v;
    return (v) => (start + (end - start) * (place(v) - place(low)) / (place(high) - place(low))).toFixed(1);
  }

  function ticks({ low, high, log }) {
    // [value, text] of about five round values.
    if (log) {
      const first = Math.ceil(Math.log10(low) - 1e-9), last = Math.floor(Math.log10(high) + 1e-9);
      const step = Math.ceil((last - first) / 5) || 1, raised = (k) => [...String(k)].map((c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]);
      const powers = Array.from({ length: Math.floor((last - first) / step) + 1 }, (_, i) => first + i * step);
      return powers.map((k) => [10 ** k, Math.abs(k) < 3 ? String(Number((10 ** k).toFixed(2))) : `10${raised(k).join("")}`]);
    }
    const rough = (high - low) / 5, base = 10 ** Math.floor(Math.log10(rough));
    const step = base * [1, 2, 5, 10].find((m) => m * base >= rough), first = Math.ceil(low / step);
    const n = Math.floor(high / step + 1e-9) - first + 1;
    return Array.from({ length: n }, (_, i) => (first + i) * step).map((v) => [v, String(Number(v.toPrecision(6)))]);
  }

  const MARKS = { circle: "M-6,0a6,6 0 1,0 12,0a6,6 0 1,0 -12,0Z", square: "M-6,-6H6V6H-6Z", diamond: "M0,-9L6,0L0,9L-6,0Z" };

  function mark(parent, { kind, look }, shape) {
    // One series' path in its look; `shape` is the path.
    const fill = kind === "line" ? "none" : look.hatch ? `url(#hatch-${look.color.slice(1)})` : look.color;
    element(parent, "path", { d: shape, fill, stroke: kind === "band" ? "none" : look.color,
      "stroke-width": kind === "line" ? 2.5 : 1, "stroke-dasharray": kind === "line" ? look.dash || "" : "",
      "fill-opacity": kind === "line" || kind === "point" || look.hatch ? 1 : look.opacity || 0.35 });
  }

  function hatches(svg, series) {
    const defs = element(svg, "defs", {});
    for (const { color } of new Map(series.filter((one) => one.look.hatch).map((one) => [one.look.color, one.look])).values()) {
      const pattern = element(defs, "pattern", { id: `hatch-${color.slice(1)}`, width: 6, height: 6,
        patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
      element(pattern, "rect", { width: 6, height: 6, fill: color, "fill-opacity": 0.45 });
      element(pattern, "rect", { width: 1.6, height: 6, fill: color });
    }
  }

  function legend(series) {
    const list = document.createElement("p");
    list.className = "explorer-legend";
    for (const one of series.filter((one) => one.look.label)) {
      const entry = document.createElement("span");
      const swatch = element(entry, "svg", { width: 28, height: 14, viewBox: "0 0 28 14" });
      if (one.kind === "point") mark(element(swatch, "g", { transform: "translate(14 7)" }), one, MARKS[one.look.mark]);
      else mark(swatch, one, one.kind === "line" ? "M0,7H28" : "M2,1H26V13H2Z");
      entry.append(one.look.label);
      list.append(entry);
    }
    return list;
  }

  function chart(box) {
    // draw({ x, y, series }): axes { label, low, high, log }, series { kind, look, ... } from the back to the front.
    let last = null, width = 0;

    function draw({ x, y, series }) {
      last = { x, y, series };
      width = box.clientWidth;
      const inner = { width: Math.max(width - MARGIN.left - MARGIN.right, 50), height: HEIGHT - MARGIN.top - MARGIN.bottom };
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      for (const [key, value] of Object.entries({ width, height: HEIGHT, "aria-hidden": true })) svg.setAttribute(key, value);
      hatches(svg, series);
      const across = scale(x, 0, inner.width), up = scale(y, inner.height, 0);
      const plain = { fill: "#000", "font-size": 13 };
      for (const [v, text] of ticks(x)) {
        const at = MARGIN.left + Number(across(v));
        element(svg, "path", { d: `M${at},${MARGIN.top}v${inner.height + 5}`, stroke: "#ddd" });
        element(svg, "text", { ...plain, x: at, y: HEIGHT - 25, "text-anchor": "middle" }, text);
      }
      for (const [v, text] of ticks(y)) {
        const at = MARGIN.top + Number(up(v));
        element(svg, "path", { d: `M${MARGIN.left - 5},${at}h${inner.width + 5}`, stroke: "#ddd" });
        element(svg, "text", { ...plain, x: MARGIN.left - 8, y: at + 4, "text-anchor": "end" }, text);
      }
      element(svg, "text", { ...plain, x: MARGIN.left + inner.width / 2, y: HEIGHT - 5, "text-anchor": "middle" }, x.label);
      element(svg, "text", { ...plain, "text-anchor": "middle", transform: `translate(13 ${MARGIN.top + inner.height / 2}) rotate(-90)` }, y.label);
      const area = element(svg, "svg", { x: MARGIN.left, y: MARGIN.top, width: inner.width, height: inner.height });  // cuts off what is outside
      for (const one of series) {
        const points = (xs, ys) => xs.map((v, i) => `${across(v)},${up(ys[i])}`);
        if (one.kind === "line") mark(area, one, `M${points(one.x, one.y).join("L")}`);
        if (one.kind === "band") mark(area, one, `M${[...points(one.x, one.high), ...points(one.x, one.low).reverse()].join("L")}Z`);
        if (one.kind === "bars") mark(area, one, one.left.map((v, i) => `M${across(v)},${up(y.low)}V${up(one.top[i])}H${across(one.right[i])}V${up(y.low)}Z`).join(""));
        if (one.kind === "point") {
          const at = element(area, "g", { transform: `translate(${across(one.x)} ${up(one.y)})`, "data-x": one.x, "data-y": one.y });
          mark(at, one, MARKS[one.look.mark]);
        }
      }
      element(svg, "path", { d: `M${MARGIN.left},${MARGIN.top}v${inner.height}h${inner.width}`, fill: "none", stroke: "#000" });
      box.replaceChildren(legend(series), svg);
    }

    new ResizeObserver(() => { if (last && box.clientWidth !== width) draw(last); }).observe(box);
    return draw;
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

  function startThreshold(block, { data, looks }) {
    const { control, say, value, shown } = parts(block);
    for (const score of data.runs.flatMap((run) => run.scores)) {
      for (const images of [score.id, ...score.sets]) {
        let sum = 0;
        images.accepted = images.added.map((count) => (sum += count));
      }
    }
    const [histogram, roc] = [...block.querySelectorAll(".explorer-plot")].map(chart);

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
      const at = Math.min(Math.max(score.thresholds[j], score.low), score.high);
      histogram({ x: { label: score.title, low: score.low, high: score.high }, y: { label: "images per bin (%)", low: 0, high: top },
        series: [{ kind: "bars", look: looks.id, left, right, top: tops[0] }, { kind: "bars", look: looks.ood, left, right, top: tops[1] },
          { kind: "line", look: looks.threshold, x: [at, at], y: [0, top] }] });

      const share = (images) => [0, ...images.accepted.map((count) => 100 * count / images.n), 100];
      roc({ x: { label: "FPR: OOD accepted (%)", low: 0, high: 100 }, y: { label: "TPR: ID accepted (%)", low: 0, high: 102 },
        series: [{ kind: "line", look: looks.chance, x: [0, 100], y: [0, 100] },
          { kind: "line", look: looks.roc, x: share(ood), y: share(id) },
          { kind: "point", look: looks.point, x: 100 * ood.accepted[j] / ood.n, y: 100 * id.accepted[j] / id.n }] });
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

  function startNorm(block, { data, looks }) {
    const { control, say, value, shown } = parts(block);
    const [bars, curves, bounds] = [...block.querySelectorAll(".explorer-plot")].map(chart);
    const printedAt = (tau, K) => Math.log1p((K - 1) * Math.exp(-2 / tau));
    const infimumAt = (tau, K) => Math.log1p((K - 1) * Math.exp(-Math.sqrt(K / (K - 1)) / tau));
    const [least, most] = [data.taus[0], data.taus[data.taus.length - 1]];

    function update() {
      const norm = data.norms[control("norm").value], tau = data.taus[control("tau").value];
      const angle = Number(control("angle").value);
      const K = Number(control("classes").selectedOptions[0].textContent);
      const f = exampleLogits(norm, angle, K);
      const normalised = (g, length) => g.map((x) => x / (tau * (length + data.eps)));
      const p = softmax(f), q = softmax(normalised(f, norm));
      const ce = loss(f), ln = loss(normalised(f, norm));
      const printed = printedAt(tau, K), infimum = infimumAt(tau, K);

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

      const classes = [...Array(10).keys()], side = (shift) => classes.map((k) => k + shift);
      bars({ x: { label: "class (0 is the right one, 1 its rival)", low: -0.6, high: 9.6 }, y: { label: "probability", low: 0, high: 1.05 },
        series: [{ kind: "bars", look: looks.ce_bars, left: side(-0.38), right: side(-0.02), top: p.slice(0, 10) },
          { kind: "bars", look: looks.ln_bars, left: side(0.02), right: side(0.38), top: q.slice(0, 10) }] });

      const xs = Array.from({ length: 121 }, (_, i) => 10 ** (-1 + i / 40));
      const along = xs.map((x) => exampleLogits(x, angle, K));
      const ends = [xs[0], xs[xs.length - 1]], nats = { label: "loss (nats)", low: 1e-24, high: 1e3, log: true };
      curves({ x: { label: "norm of the logits", low: ends[0], high: ends[1], log: true }, y: nats,
        series: [{ kind: "line", look: looks.ce, x: xs, y: along.map(loss) },
          { kind: "line", look: looks.ln, x: xs, y: along.map((g, i) => loss(normalised(g, xs[i]))) },
          { kind: "line", look: looks.infimum, x: ends, y: [infimum, infimum] },
          { kind: "line", look: looks.printed, x: ends, y: [printed, printed] },
          { kind: "point", look: looks.ce_point, x: norm, y: ce }, { kind: "point", look: looks.ln_point, x: norm, y: ln }] });

      const ts = Array.from({ length: 121 }, (_, i) => least * (most / least) ** (i / 120));
      const floor = ts.map(() => nats.low), low = ts.map((t) => printedAt(t, K)), exact = ts.map((t) => infimumAt(t, K));
      bounds({ x: { label: "τ", low: least, high: most, log: true }, y: nats,
        series: [{ kind: "band", look: looks.ruled_out, x: ts, low: floor, high: low },
          { kind: "band", look: looks.unreached, x: ts, low, high: exact },
          { kind: "line", look: looks.here, x: [tau, tau], y: [nats.low, nats.high] },
          { kind: "point", look: looks.ln_point, x: tau, y: ln }] });
    }
    return update;
  }

  function startValley(block, { data, looks }) {
    const { control, say, value, shown } = parts(block);
    const [losses, energies] = [...block.querySelectorAll(".explorer-plot")].map(chart);
    const middle = (data.shares.length - 1) / 2, ends = [data.shares[0], data.shares[data.shares.length - 1]];
    const signed = (x) => `${x > 0 ? "+" : x < 0 ? "−" : ""}${Math.abs(x).toFixed(2)}`;
    const x = { label: "offset ratio, √K m / ‖c‖", low: ends[0], high: ends[1] };
    let rolling = null;

    function update() {
      const t = Number(control("tau").value), i = Number(control("share").value), tau = data.taus[t], share = data.shares[i];
      const s = data.s[t][i], loss = data.loss[t][i], most = data.most;
      shown("tau", String(tau));
      shown("share", signed(share));
      value("ce_s", "1");
      value("ln_s", s.toFixed(1));
      value("ce_confidence", percent(data.raw.confidence, 1));
      value("ln_confidence", percent(data.confidence[t][i], 1));
      value("ce_loss", small(data.raw.loss));
      value("ln_loss", small(loss));
      say(`τ ${tau} asks for ${(1 / tau).toFixed(0)}. With this offset the softmax is at ${s.toFixed(1)} and costs ${small(loss)} nats; Energy lets ` +
        `${data.energy[i].toFixed(1)} % of the foreign images pass, of f − m ${data.energy[middle].toFixed(1)} %. Accuracy stays ${data.accuracy.toFixed(1)} %.`);
      losses({ x, y: { label: "loss (nats)", low: 0, high: most }, series: [
        { kind: "line", look: looks.ce, x: ends, y: [data.raw.loss, data.raw.loss] },
        { kind: "line", look: looks.ln, x: data.shares, y: data.loss[t] }, { kind: "point", look: looks.here, x: share, y: loss }] });
      energies({ x, y: { label: "mean FPR95 (%)", low: 0, high: 102 }, series: [
        { kind: "line", look: looks.energy, x: data.shares, y: data.energy },
        { kind: "line", look: looks.centred, x: ends, y: [data.energy[middle], data.energy[middle]] },
        { kind: "point", look: looks.energy_here, x: share, y: data.energy[i] }] });
    }

    function stop() {
      clearInterval(rolling);
      rolling = null;
    }

    block.querySelector("[data-roll]").addEventListener("click", () => {
      // Downhill, a step at a time. Exactly in the middle a coin decides, as the seed does.
      stop();
      const loss = () => data.loss[control("tau").value];
      const step = () => {
        const i = Number(control("share").value), right = loss()[i + 1] ?? Infinity, left = loss()[i - 1] ?? Infinity;
        if (Math.min(left, right) >= loss()[i]) return false;
        control("share").value = i + (right === left ? Math.sign(Math.random() - 0.5) : right < left ? 1 : -1);
        return true;
      };
      if (matchMedia("(prefers-reduced-motion: reduce)").matches) while (step());
      else rolling = setInterval(() => { if (step()) update(); else stop(); }, 40);
      update();
    });
    for (const name of ["tau", "share"]) control(name).addEventListener("input", stop);
    return update;
  }

  function start(block) {
    const content = JSON.parse(block.querySelector('script[type="application/json"]').textContent);
    const update = START[block.dataset.explorer](block, content);
    update();
    for (const control of block.querySelectorAll("[data-control]")) control.addEventListener("input", update);
    block.dataset.ready = "true";
  }

  for (const block of document.querySelectorAll("[data-explorer]:not([data-started])")) {
    block.dataset.started = "true";
    start(block);
  }
})();
