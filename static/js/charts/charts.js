/* Charts drawn from the table that stands beneath them, so that the two can never differ: the head has the series, each row
   one place on the axis. A figure (data-chart="bars" or "line") names the table by data-chart-table; a column may say with
   data-chart-series which colour it takes (1 to 5, soft, ahead), and cells carry their number in data-value. */
(() => {
  const drawn = new Map();
  const still = matchMedia("(prefers-reduced-motion: reduce)");

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--tp-chart-${name}`).trim();
  const number = (text) => (text === undefined || text === "" ? null : Number(text));
  const words = (value) => value.toLocaleString("en-GB");

  const read = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    const rows = [...table.tBodies[0].rows];
    const series = heads.flatMap((head, column) => (head.dataset.chartSeries ? [{
      label: head.textContent.trim(),
      colour: head.dataset.chartSeries,
      values: rows.map((row) => number(row.cells[column].dataset.value)),
    }] : []));
    return { labels: rows.map((row) => row.cells[0].dataset.label ?? row.cells[0].textContent.trim()), series };
  };

  const dataset = (kind) => ({ label, colour: name, values }) => {
    const fill = colour(name);
    return kind === "line"
      ? { label, data: values, borderColor: fill, backgroundColor: fill, borderWidth: 1.75, pointRadius: 0, pointHitRadius: 12, stepped: "before" }
      : { label, data: values, backgroundColor: fill, hoverBackgroundColor: fill, borderWidth: 0,
          borderRadius: 2, borderSkipped: false, categoryPercentage: 1, barPercentage: 0.6, stack: "all" };
  };

  const options = (kind) => {
    const label = colour("label");
    const ticks = { color: label, font: { size: 11 } };
    return {
      responsive: true,
      maintainAspectRatio: false,
      animation: still.matches ? false : { duration: 220 },
      interaction: { mode: "index", intersect: false },
      plugins: {
        legend: { display: false },
        tooltip: { callbacks: { label: (item) => `${item.dataset.label}: ${words(item.parsed.y)}` } },
      },
      scales: {
        x: { stacked: kind === "bars", border: { display: false }, grid: { display: false }, ticks: { ...ticks, maxRotation: 0, autoSkipPadding: 24 } },
        y: {
          stacked: kind === "bars", beginAtZero: true, border: { display: false }, grid: { color: colour("grid") },
          ticks: { ...ticks, maxTicksLimit: 5, precision: 0, callback: words },
        },
      },
    };
  };

  const draw = (figure) => {
    const table = document.getElementById(figure.dataset.chartTable);
    const canvas = figure.querySelector("canvas");
    if (!table || !canvas) return;
    drawn.get(figure)?.destroy();
    const kind = figure.dataset.chart;
    const { labels, series } = read(table);
    drawn.set(figure, new Chart(canvas, {
      type: kind === "line" ? "line" : "bar",
      data: { labels, datasets: series.map(dataset(kind)) },
      options: options(kind),
    }));
  };

  const drawAll = (root) => {
    for (const [figure, chart] of drawn) {
      if (figure.isConnected) continue;
      chart.destroy();
      drawn.delete(figure);
    }
    for (const figure of root.querySelectorAll("[data-chart]")) if (!drawn.has(figure)) draw(figure);
  };

  const redraw = () => { for (const figure of drawn.keys()) draw(figure); };

  document.addEventListener("DOMContentLoaded", () => drawAll(document));
  document.addEventListener("htmx:afterSettle", () => drawAll(document));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  still.addEventListener("change", redraw);
  new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-bs-theme"] });
})();
