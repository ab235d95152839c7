// The slider of 'LogitNorm's hidden temperature': adds an offset to five logits, as logitnorm.study.offset describes it.
for (const block of document.querySelectorAll("[data-offset-logits]")) {
  const c = block.dataset.offsetLogits.split(",").map(Number);
  const mean = c.reduce((a, b) => a + b, 0) / c.length;
  const control = (name) => block.querySelector(`[data-control="${name}"]`);
  const write = (name, text) => { block.querySelector(`[data-value="${name}"]`).textContent = text; };
  const logSumExp = (f) => {
    const top = Math.max(...f);
    return top + Math.log(f.reduce((sum, x) => sum + Math.exp(x - top), 0));
  };
  const number = (x) => x.toPrecision(3);

  function update() {
    const m = Number(control("offset").value) / 10, tau = Number(control("tau").value) / 100;
    const centred = c.map((x) => x - mean), f = centred.map((x) => x + m);
    const norm = Math.hypot(...f), q = f.map((x) => x / (tau * norm));
    block.querySelector('[data-shown="offset"]').textContent = m.toFixed(1);
    block.querySelector('[data-shown="tau"]').textContent = tau.toFixed(2);
    const losses = [f, q].map((g) => logSumExp(g) - g[0]);
    write("ce_loss", number(losses[0]));
    write("ln_loss", number(losses[1]));
    write("ce_p", number(Math.exp(-losses[0])));
    write("ln_p", number(Math.exp(-losses[1])));
    write("ce_s", "1");
    write("ln_s", `${number(Math.hypot(...centred) / (tau * norm))} (nominal ${number(1 / tau)})`);
    write("energy", number(logSumExp(f)));
    write("same", "the same");
    write("energy_c", number(logSumExp(centred)));
    write("same_c", "the same");
    block.querySelector(".explorer-said").textContent = `With m = ${m.toFixed(1)} cross-entropy sees what it saw before, ` +
      `LogitNorm a softmax at ${number(Math.hypot(...centred) / norm * 100)} % of its nominal inverse temperature.`;
  }
  for (const input of block.querySelectorAll("input")) input.addEventListener("input", update);
  update();
}
