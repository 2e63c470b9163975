//! Answers of the ledger as text: for people, for programs, for spreadsheets.

use crate::config::printable;
use crate::ledger::{Answer, By, Row};
use crate::units::MicroUsd;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: what is 0 in all rows is left out
    #[default]
    Table,
    Json,
    /// For spreadsheets: RFC 4180, and no cell is taken for a formula
    Csv,
}

impl Format {
    pub fn text(self, answer: &Answer, by: &[By]) -> String {
        match self {
            Self::Table => table(answer, by),
            Self::Json => format!("{:#}\n", answer.json(by)),
            Self::Csv => csv(answer, by),
        }
    }
}

/// What there is no name for.
const NONE: &str = "-";

fn heads(by: &[By], rows: &[Row]) -> Vec<String> {
    let counts = Row::default().columns().map(|(name, _)| name.to_owned());
    let counts = counts.into_iter().enumerate().filter(|(at, _)| {
        let is_used = |row: &Row| row.columns().get(*at).is_some_and(|(_, count)| *count > 0);
        // The first three are always told.
        *at < 3 || rows.iter().any(is_used)
    });
    let names = by.iter().map(By::name);
    names
        .chain(counts.map(|(_, name)| name))
        .chain(["cost_usd".to_owned()])
        .collect()
}

fn cells(row: &Row, heads: &[String]) -> Vec<String> {
    let names = row.by.iter().map(|name| match name {
        Some(name) => printable(name),
        None => NONE.to_owned(),
    });
    let counts = row.columns().into_iter();
    let counts = counts.filter(|(name, _)| heads.iter().skip(row.by.len()).any(|h| h == name));
    names
        .chain(counts.map(|(_, count)| count.to_string()))
        .chain([row.cost.to_string()])
        .collect()
}

fn table(answer: &Answer, by: &[By]) -> String {
    let heads = heads(by, &answer.rows);
    let mut lines = vec![heads.clone()];
    lines.extend(answer.rows.iter().map(|row| cells(row, &heads)));
    if answer.rows.len() > 1 {
        let mut total = total(&answer.rows);
        total.by = by.iter().map(|_| Some(String::new())).collect();
        if let Some(first) = total.by.first_mut() {
            *first = Some("total".to_owned());
        }
        lines.push(cells(&total, &heads));
    }
    let widths: Vec<usize> = (0..heads.len())
        .map(|at| {
            let cells = lines.iter().filter_map(|line| line.get(at));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for line in lines {
        let aligned = line.iter().zip(&widths).enumerate();
        let aligned: Vec<_> = aligned
            .map(|(at, (cell, width))| match at < by.len() {
                true => format!("{cell:<width$}"),
                false => format!("{cell:>width$}"),
            })
            .collect();
        text.push_str(aligned.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn total(rows: &[Row]) -> Row {
    rows.iter().fold(Row::default(), |sum, row| Row {
        by: Vec::new(),
        requests: sum.requests + row.requests,
        usage: sum.usage.plus(row.usage),
        cost: MicroUsd::saturating_add(sum.cost, row.cost),
        estimated: sum.estimated + row.estimated,
        recovered: sum.recovered + row.recovered,
        unpriced: sum.unpriced + row.unpriced,
    })
}

fn csv(answer: &Answer, by: &[By]) -> String {
    let counts = Row::default().columns().map(|(name, _)| name.to_owned());
    let names = by.iter().map(By::name);
    let heads: Vec<_> = names
        .chain(counts)
        .chain(["cost_usd".to_owned()])
        .map(|head| field(&head))
        .collect();
    let mut text = heads.join(",") + "\r\n";
    for row in &answer.rows {
        let names = row
            .by
            .iter()
            .map(|name| field(name.as_deref().unwrap_or_default()));
        let counts = row.columns().map(|(_, count)| count.to_string());
        let line: Vec<_> = names.chain(counts).chain([row.cost.to_string()]).collect();
        text.push_str(&line.join(","));
        text.push_str("\r\n");
    }
    text
}

/// A cell that a spreadsheet shows as it is: what would begin a formula there
/// gets an apostrophe before it. Names are the clients' to choose.
fn field(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let text = if is_formula {
        format!("'{text}")
    } else {
        text.to_owned()
    };
    match text.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Answer {
        let row = |user: Option<&str>, cost| Row {
            by: vec![user.map(str::to_owned)],
            requests: 2,
            cost: MicroUsd(cost),
            ..Row::default()
        };
        Answer {
            rows: vec![row(Some("=1+1,\"x\""), 12_000_001), row(None, 5)],
            is_widened: false,
        }
    }

    #[test]
    fn a_table_tells_what_there_is() {
        let text = Format::Table.text(&answer(), &[By::User]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        let heads: Vec<String> = words(lines[0]);
        let expected = [
            "user",
            "requests",
            "input_tokens",
            "output_tokens",
            "cost_usd",
        ];
        assert_eq!(heads, expected);
        let total: Vec<String> = words(lines[3]);
        assert_eq!(total, ["total", "4", "0", "0", "12.000006"]);
    }

    #[test]
    fn no_cell_is_a_formula_and_money_is_exact() {
        let text = Format::Csv.text(&answer(), &[By::User]);
        let lines: Vec<_> = text.split("\r\n").collect();
        assert!(lines[0].starts_with("user,requests,"));
        assert!(
            lines[1].starts_with("\"'=1+1,\"\"x\"\"\",2,"),
            "{}",
            lines[1]
        );
        assert!(lines[1].ends_with(",12.000001"));
        assert_eq!(field("-1"), "'-1");
        assert_eq!(field("a b"), "a b");
        let json: serde_json::Value =
            serde_json::from_str(&Format::Json.text(&answer(), &[By::User])).unwrap();
        assert_eq!(json["rows"][0]["cost_usd"], "12.000001");
        assert_eq!(json["rows"][1]["user"], serde_json::Value::Null);
    }
}
