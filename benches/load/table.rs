//! The table: Markdown, so that it can be quoted as it is. Ratios first.

use crate::measure::{Row, Sample};

/// The first name is the yardstick; every other contender gets a ratio.
pub fn render(names: &[&str], rows: &[Row]) -> String {
    let heading = heading(names);
    let rule = vec!["---".to_owned(); heading.len()];
    let mut lines = vec![heading, rule];
    lines.extend(rows.iter().map(|row| cells(row, names.len())));
    let mut widths = Vec::new();
    for line in &lines {
        widths.resize(line.len(), 0);
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.len().max(*width);
        }
    }
    let mut text = String::new();
    for line in &lines {
        for (cell, &width) in line.iter().zip(&widths) {
            let filler = if cell == "---" {
                "-".repeat(width)
            } else {
                cell.clone()
            };
            text.push_str(&format!("| {filler:<width$} "));
        }
        text.push_str("|\n");
    }
    let foreign = rows.iter().flat_map(|r| r.rounds.iter().flatten());
    let foreign = foreign.map(|s| s.foreign).fold(0.0, f64::max);
    text.push_str(&format!(
        "\nCPU: user + system microseconds of the gateway per response; ratio: median of the \
         rounds' ratios (lowest to highest).\nOther cells: medians of the rounds. core: how much \
         of its CPU the gateway used; below 100 % the load side set the rate.\nOther \
         work took up to {:.0} % of that CPU during a run: near zero on a quiet machine, and \
         the more, the less these figures say.\n",
        foreign * 100.0,
    ));
    text
}

fn heading(names: &[&str]) -> Vec<String> {
    let yardstick = names.first().unwrap_or(&"");
    let ratios = names
        .iter()
        .skip(1)
        .map(|name| format!("CPU {name} / {yardstick}"));
    let figures = names.iter().flat_map(|name| {
        ["CPU us", "req/s", "p50", "p99", "core"].map(|figure| format!("{name} {figure}"))
    });
    std::iter::once("body".to_owned())
        .chain(ratios)
        .chain(figures)
        .collect()
}

fn cells(row: &Row, contenders: usize) -> Vec<String> {
    let mut cells = vec![row.name.clone()];
    cells.extend((1..contenders).map(|index| ratio(row, index)));
    for index in 0..contenders {
        let median_of = |figure: fn(&Sample) -> f64| {
            median(row.rounds.iter().filter_map(|r| r.get(index)).map(figure))
        };
        cells.extend([
            format!("{:.1}", median_of(|s| s.cpu_us)),
            format!("{:.0}", median_of(|s| s.requests_per_second)),
            duration(median_of(|s| s.p50_us)),
            duration(median_of(|s| s.p99_us)),
            format!("{:.0} %", median_of(|s| s.core) * 100.0),
        ]);
    }
    cells
}

fn ratio(row: &Row, index: usize) -> String {
    let ratios: Vec<f64> = row
        .rounds
        .iter()
        .filter_map(|round| Some(round.get(index)?.cpu_us / round.first()?.cpu_us))
        .collect();
    let lowest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = ratios.iter().copied().fold(0.0, f64::max);
    format!(
        "{:.2} ({lowest:.2} to {highest:.2})",
        median(ratios.into_iter())
    )
}

/// The middle value, or the mean of the two middle ones; NaN of nothing.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match (
        sorted.len() % 2,
        sorted.get(half.wrapping_sub(1)),
        sorted.get(half),
    ) {
        (1, _, Some(middle)) => *middle,
        (0, Some(low), Some(high)) => f64::midpoint(*low, *high),
        _ => f64::NAN,
    }
}

/// Microseconds below a millisecond, else milliseconds.
pub fn duration(us: f64) -> String {
    if us < 1000.0 {
        format!("{us:.0} us")
    } else {
        format!("{:.2} ms", us / 1000.0)
    }
}
