// A price line with its bid and ask, drawn on a canvas in the page's own colours.

const PAD = { left: 8, right: 74, top: 10, bottom: 20 };

function fit(canvas) {
  const ratio = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

// 1, 2 or 5 times a power of ten: steps that read well.
function step(range, wanted) {
  const rough = range / wanted, power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((n) => n * power >= rough);
}

export function drawChart(canvas, points, label) {
  const { context: c, width, height } = fit(canvas);
  if (points.length < 2 || width === 0) return;
  const style = getComputedStyle(document.documentElement), colour = (name) => style.getPropertyValue(name).trim();
  const values = points.flatMap((p) => [p.price, p.bid ?? p.price, p.ask ?? p.price]);
  let low = Math.min(...values), high = Math.max(...values);
  if (high - low < Math.abs(high) * 1e-5) { low -= Math.abs(high) * 5e-6 || 1; high += Math.abs(high) * 5e-6 || 1; }
  const first = points[0].t, last = Math.max(points.at(-1).t, first + 10_000);
  const x = (t) => PAD.left + ((t - first) / (last - first)) * (width - PAD.left - PAD.right);
  const y = (v) => PAD.top + ((high - v) / (high - low)) * (height - PAD.top - PAD.bottom);

  c.font = `11px ${style.fontFamily}`;
  c.lineWidth = 1;
  c.textBaseline = "middle";
  const by = step(high - low, 5);
  for (let v = Math.ceil(low / by) * by; v <= high; v += by) {
    c.strokeStyle = colour("--line");
    c.beginPath();
    c.moveTo(PAD.left, Math.round(y(v)) + 0.5);
    c.lineTo(width - PAD.right + 4, Math.round(y(v)) + 0.5);
    c.stroke();
    c.fillStyle = colour("--dim");
    c.fillText(label(v), width - PAD.right + 8, y(v));
  }
  c.textAlign = "center";
  const every = Math.max(15_000, Math.ceil((last - first) / 5 / 15_000) * 15_000);
  for (let t = Math.ceil(first / every) * every; t <= last; t += every) {
    c.fillText(new Date(t).toLocaleTimeString("en-GB"), Math.min(Math.max(x(t), 30), width - PAD.right), height - 8);
  }
  c.textAlign = "start";

  const line = (key, name, weight) => {
    c.strokeStyle = colour(name);
    c.lineWidth = weight;
    c.beginPath();
    points.forEach((p, i) => (i ? c.lineTo(x(p.t), y(p[key] ?? p.price)) : c.moveTo(x(p.t), y(p[key] ?? p.price))));
    c.stroke();
  };
  c.globalAlpha = 0.45;
  line("bid", "--buy", 1);
  line("ask", "--sell", 1);
  c.globalAlpha = 1;
  line("price", "--accent", 1.5);

  const now = points.at(-1).price;
  c.fillStyle = colour("--accent");
  c.fillRect(width - PAD.right + 4, y(now) - 8, PAD.right - 4, 16);
  c.fillStyle = colour("--bg");
  c.fillText(label(now), width - PAD.right + 8, y(now));
}
