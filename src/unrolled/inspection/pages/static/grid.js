"use strict";

/** Ends of the scale of colours, full −1 and full +1: blue and green of unlike hue for every kind of colour vision. */
const ENDS = { light: [[40, 70, 208], [100, 196, 0]], dark: [[84, 112, 250], [124, 230, 50]] };
const PLAIN = { light: { card: "#ffffff", ink: "#1b2430", soft: "#8a94a0", focus: "#d1590b" }, dark: { card: "#171d24", ink: "#e6eaef", soft: "#7f8b98", focus: "#ffa04d" } };
const GUESS = { light: [226, 104, 16], dark: [255, 150, 60] };
const STEPS = 127;
const MONO = colour("mono");

const theme = () => (dark.matches && !printing ? "dark" : "light");
const rgb = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
const mix = (from, to, share) => from.map((part, i) => Math.round(part + (to[i] - part) * share));
const css = (parts) => `rgb(${parts.join(",")})`;

/** Return the relative luminance of a colour, as WCAG 2 defines it. */
function luminance(parts) {
  const [r, g, b] = parts.map((part) => (part / 255 <= 0.03928 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** Return black or white, whichever is read more easily on a colour. */
function inkOn(parts) {
  const light = luminance(parts);
  return 1.05 / (light + 0.05) > (light + 0.05) / 0.0633 ? "#ffffff" : "#10161d";
}

/** Return a symbol as it is shown in a narrow cell: of a byte that is no ASCII the two digits alone. */
const briefs = new Map();
function brief(symbol) {
  if (!briefs.has(symbol)) briefs.set(symbol, /^\\x[0-9a-f]{2}$/.test(symbol) ? symbol.slice(2) : shown(symbol));
  return briefs.get(symbol);
}

/** Write one symbol around x, y; only what may be wide is measured, to be made narrow enough. */
function writeBrief(context, symbol, x, y, wide) {
  const text = brief(symbol);
  if (text.length === 1 && text < "\u0250") context.fillText(text, x, y);
  else context.fillText(text, x, y, wide);
}

const palettes = {};
/** Return the colours of −127 … 127, and of what is written on each, for the present theme. */
function palette() {
  const name = theme();
  if (!palettes[name]) {
    const card = rgb(PLAIN[name].card);
    const steps = Array.from({ length: 2 * STEPS + 1 }, (_, i) => {
      const value = (i - STEPS) / STEPS;
      return mix(card, ENDS[name][value < 0 ? 0 : 1], Math.abs(value) ** 0.85);
    });
    const guesses = Array.from({ length: 256 }, (_, i) => mix(card, GUESS[name], (i / 255) ** 0.7));
    palettes[name] = { ...PLAIN[name], cells: steps.map(css), inks: steps.map(inkOn), guesses: guesses.map(css), guessInks: guesses.map(inkOn) };
  }
  return palettes[name];
}

/**
 * A text on a canvas, a cell a symbol, so that no symbol can move another one.
 *
 * `source` has `symbol(t)`, `width(t)` in cells, `ends(t)` for a line's end, `spot(t)` −127 … 127 or null,
 * `bits(t)`, `guesses(t)` as [text, 0 … 255, right] and `truth(t)` 0 … 1 or null. Rows break at line ends and
 * between words.
 */
class Grid {
  constructor(canvas, source, [begin, end], { size = 15, most = Infinity } = {}) {
    Object.assign(this, { canvas, source, begin, end, size, most, guesses: 0, surprise: false, truth: false, top: 0 });
    this.context = canvas.getContext("2d");
  }

  /** Lay the text out for a width in pixels; return the height of all rows. */
  layout(width) {
    this.context.font = this.font(this.size);
    this.width = width;
    this.cell = this.cellWidth();
    this.columns = Math.max(8, Math.floor((width - 16) / this.cell));
    this.rows = [];
    let start = this.begin, used = 0, space = -1;
    for (let t = this.begin; t < this.end; t++) {
      const wide = this.source.width(t);
      if (used + wide > this.columns && t > start) {
        const next = space > start ? space : t;
        this.rows.push([start, next]);
        used = 0;
        for (let u = next; u < t; u++) used += this.source.width(u);
        [start, space] = [next, -1];
      }
      used += wide;
      if (this.source.ends(t)) {
        this.rows.push([start, t + 1]);
        [start, used, space] = [t + 1, 0, -1];
      } else if (this.source.symbol(t) === " ") space = t + 1;
    }
    if (start < this.end) this.rows.push([start, this.end]);
    this.rows.length = Math.min(this.rows.length, this.most);
    return this.total;
  }

  font(size) { return `${size}px ${MONO}`; }

  cellWidth() {
    const own = this.context.measureText("0").width;
    const widest = this.source.widest(this.context, this.font(this.size));
    return Math.ceil(Math.min(Math.max(own, widest), 2 * own) * 2) / 2;
  }

  get line() { return Math.round(this.size * 1.45); }
  get rowHeight() { return this.line + (this.surprise ? 9 : this.truth ? 6 : 2) + this.guesses * (this.size + 1) + (this.guesses ? 10 : 2); }
  get total() { return this.rows.length * this.rowHeight + 12; }

  /** Give the canvas its size in pixels, sharp on every screen. */
  resize(width, height) {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.height = height;
  }

  /** Draw the rows that are seen when scrolled down by `top` pixels. */
  draw(top = this.top, span = null) {
    this.top = top;
    const { context } = this, colours = palette();
    context.fillStyle = colours.card;
    context.fillRect(0, 0, this.width, this.height);
    context.textAlign = "center";
    context.textBaseline = "middle";
    const first = Math.max(0, Math.floor((top - 6) / this.rowHeight));
    for (let row = first; row < this.rows.length && this.y(row) < this.height; row++) this.drawRow(row, colours, span);
  }

  y(row) { return 6 + row * this.rowHeight - this.top; }

  drawRow(row, colours, span) {
    const { context, source, cell, line } = this, y = this.y(row);
    let x = 8;
    context.font = this.font(this.size);
    for (let t = this.rows[row][0]; t < this.rows[row][1]; t++) {
      const wide = source.width(t) * cell, spot = source.spot(t), step = (spot ?? 0) + STEPS;
      if (spot) {
        context.fillStyle = colours.cells[step];
        context.fillRect(x, y, wide + 0.5, line);
      }
      if (span && t >= span[0] && t < span[1]) this.mark(x, y, wide, t, span, colours);
      this.write(t, x, y, wide, colours.inks[step]);
      this.under(t, x, y, wide, colours);
      x += wide;
    }
    if (this.guesses) this.drawGuesses(row, colours);
  }

  write(t, x, y, wide, ink) {
    const symbol = this.source.symbol(t);
    if (symbol === " ") return;
    const { context } = this, faint = symbol === "\n" || symbol === "\t" || symbol === "\r";
    context.globalAlpha = faint ? 0.35 : 1;
    context.fillStyle = ink;
    writeBrief(context, symbol, x + wide / 2, y + this.line / 2 + 0.5, wide);
    context.globalAlpha = 1;
  }

  under(t, x, y, wide, colours) {
    const { context, source, line } = this;
    if (this.surprise) {
      const bits = source.bits(t), height = Number.isNaN(bits) ? 0 : Math.min(7, 0.8 * bits);
      context.fillStyle = colours.soft;
      if (height > 0.4) context.fillRect(x + 1, y + line + 1, wide - 2, height);
    }
    if (this.truth) {
      const share = source.truth(t);
      context.fillStyle = colours.ink;
      if (share) context.fillRect(x, y + line + 4.5 - 3.5 * share, wide + 0.5, 3.5 * share);
    }
  }

  mark(x, y, wide, t, [begin, end], colours) {
    const { context, line } = this;
    context.fillStyle = colours.focus;
    context.fillRect(x, y - 1, wide + 0.5, 2);
    context.fillRect(x, y + line - 1, wide + 0.5, 2);
    if (t === begin) context.fillRect(x - 1, y - 1, 2, line + 2);
    if (t === end - 1) context.fillRect(x + wide - 1, y - 1, 2, line + 2);
  }

  drawGuesses(row, colours) {
    const { context, source, cell, size } = this;
    const y = this.y(row) + this.line + (this.surprise ? 9 : 2);
    context.font = this.font(size - 3);
    let x = 8;
    for (let t = this.rows[row][0]; t < this.rows[row][1]; t++) {
      const wide = source.width(t) * cell;
      source.guesses(t).slice(0, this.guesses).forEach(([text, share, right], rank) => {
        const high = y + rank * (size + 1);
        context.fillStyle = colours.guesses[share];
        context.fillRect(x, high, wide + 0.5, size + 1);
        context.fillStyle = colours.guessInks[share];
        context.globalAlpha = right ? 1 : 0.78;
        writeBrief(context, text, x + wide / 2, high + size / 2 + 1, wide);
        context.globalAlpha = 1;
        if (right) {
          context.strokeStyle = colours.guessInks[share];
          context.strokeRect(x + 0.5, high + 0.5, wide - 1, size);
        }
      });
      x += wide;
    }
  }

  /** Return the symbol at a point of the canvas, a row's last one beyond its end, or null below all rows. */
  at(px, py) {
    const row = Math.floor((py + this.top - 6) / this.rowHeight);
    if (row < 0 || row >= this.rows.length) return null;
    let x = 8;
    for (let t = this.rows[row][0]; t < this.rows[row][1]; t++) {
      x += this.source.width(t) * this.cell;
      if (px < x) return t;
    }
    return this.rows[row][1] - 1;
  }

  /** Return the row that holds symbol `t`. */
  rowOf(t) {
    let [low, high] = [0, this.rows.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.rows[middle][0] <= t) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Return the middle of symbol `t` on the canvas as [x, y]. */
  placeOf(t) {
    const row = this.rowOf(t);
    let x = 8;
    for (let u = this.rows[row][0]; u < t; u++) x += this.source.width(u) * this.cell;
    return [x + (this.source.width(t) * this.cell) / 2, this.y(row) + this.line / 2];
  }
}
