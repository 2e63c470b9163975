//! `tollgate man`: the table, as one page for all verbs.
//!
//! clap_mangen makes a page a verb and runs examples together; here each verb
//! is a section, and examples keep their lines.

use super::{Arguments, VERSION, fail, print};
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use std::io;
use std::process::ExitCode;

/// Prints the manual in roff.
pub fn man() -> ExitCode {
    match page() {
        Ok(page) => print(&page),
        Err(error) => fail(&format!("cannot make the manual: {error}")),
    }
}

fn page() -> io::Result<String> {
    let mut command = Arguments::command();
    command.build();
    let examples = command
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let man = Man::new(command.clone())
        .title("TOLLGATE")
        .source(format!("tollgate {VERSION}"))
        .manual("tollgate manual");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let mut page = String::from_utf8_lossy(&page).into_owned();
    verbs(&command, &mut page)?;
    verbatim(&examples, "SH", &mut page);
    Ok(page)
}

/// A section for each verb that does something, with the options it has.
fn verbs(command: &Command, page: &mut String) -> io::Result<()> {
    for verb in command.get_subcommands() {
        if verb.has_subcommands() {
            verbs(verb, page)?;
            continue;
        }
        let title = verb
            .get_bin_name()
            .unwrap_or(verb.get_name())
            .to_uppercase();
        page.push_str(&format!(".SH \"{title}\"\n"));
        let man = Man::new(verb.clone());
        let mut text = Vec::new();
        man.render_synopsis_section(&mut text)?;
        man.render_description_section(&mut text)?;
        man.render_options_section(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        // Without the preamble that each piece begins with, one level down, and
        // without a heading where the verb's own is enough.
        for line in text
            .lines()
            .filter(|line| !line.starts_with(".ie ") && !line.starts_with(".el "))
        {
            match line.strip_prefix(".SH ") {
                Some("SYNOPSIS") => {}
                Some("DESCRIPTION") => page.push_str(".PP\n"),
                Some(heading) => page.push_str(&format!(".SS {heading}\n")),
                None => page.push_str(&format!("{line}\n")),
            }
        }
        verbatim(
            &verb
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default(),
            "SS",
            page,
        );
    }
    Ok(())
}

/// Adds help text whose lines stay lines; those that end the column of a
/// heading (`Examples:`) become headings.
fn verbatim(text: &str, heading: &str, page: &mut String) {
    for part in text.split("\n\n") {
        let (title, lines) = part.split_once(":\n").unwrap_or(("Notes", part));
        page.push_str(&format!(
            ".{heading} {}\n.nf\n",
            title.trim().to_uppercase()
        ));
        for line in lines.trim_end().lines() {
            let line = line.replace('\\', "\\e").replace('-', "\\-");
            // A dot or quote at a line's start would be a request to roff.
            page.push_str(&format!("\\&{}\n", line.trim_start_matches("  ")));
        }
        page.push_str(".fi\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_section() {
        let page = page().unwrap();
        for title in ["RUN", "DEMO", "CHECK", "KEYS NEW", "COMPLETIONS", "MAN"] {
            assert!(
                page.contains(&format!(".SH \"TOLLGATE {title}\"\n")),
                "{title}\n{page}"
            );
        }
        assert_eq!(page.matches(".TH ").count(), 1);
        assert!(
            page.contains("\\&tollgate check \\-c tollgate.toml && systemctl reload tollgate\n")
        );
        assert!(page.contains(".SH EXIT CODES\n"), "{page}");
    }
}
