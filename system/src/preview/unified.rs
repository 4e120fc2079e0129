//! Differences of texts as `diff -u` shows them.

use core::fmt::Write;
use core::ops::Range;

use imara_diff::{Algorithm, Diff, Hunk, InternedInput};

/// How many lines that are the same stand around those that are not.
const CONTEXT: usize = 3;

/// The hunks that make `new` of `old`, without the lines that name files; nothing if they are the same.
///
/// The time it takes grows with the texts, not with its square: with very different ones it may show more than it had to.
pub(super) fn unified(old: &str, new: &str) -> String {
    let input = InternedInput::new(old, new);
    let mut diff = Diff::compute(Algorithm::Myers, &input);
    diff.postprocess_no_heuristic(&input);
    let old: Vec<&str> = old.split_inclusive('\n').collect();
    let new: Vec<&str> = new.split_inclusive('\n').collect();
    let changes: Vec<Change> = diff.hunks().map(Change::from).collect();
    let mut text = String::new();
    // What would share its context is one hunk.
    for hunk in
        changes.chunk_by(|one, next| next.old.start.saturating_sub(one.old.end) <= 2 * CONTEXT)
    {
        write_hunk(&mut text, hunk, &old, &new);
    }
    text
}

/// Lines of the old text that were replaced, and those of the new text in their place.
struct Change {
    old: Range<usize>,
    new: Range<usize>,
}

impl From<Hunk> for Change {
    fn from(Hunk { before, after }: Hunk) -> Self {
        // A file has fewer lines than fit.
        let range = |range: Range<u32>| range.start as usize..range.end as usize;
        Self {
            old: range(before),
            new: range(after),
        }
    }
}

fn write_hunk(text: &mut String, changes: &[Change], old: &[&str], new: &[&str]) {
    let (Some(first), Some(last)) = (changes.first(), changes.last()) else {
        return;
    };
    // There is as much context in either text.
    let before = CONTEXT.min(first.old.start);
    let after = CONTEXT.min(old.len().saturating_sub(last.old.end));
    let around =
        |first: usize, last: usize| first.saturating_sub(before)..last.saturating_add(after);
    let from = around(first.old.start, last.old.end);
    let to = around(first.new.start, last.new.end);
    // A String takes everything.
    let _ = writeln!(text, "@@ -{} +{} @@", place(&from), place(&to));
    let mut next = from.start;
    for change in changes {
        write_lines(text, ' ', old, next..change.old.start);
        write_lines(text, '-', old, change.old.clone());
        write_lines(text, '+', new, change.new.clone());
        next = change.old.end;
    }
    write_lines(text, ' ', old, next..from.end);
}

/// Writes the range of the lines, counted from one; an empty range is given by the line before it.
fn place(lines: &Range<usize>) -> String {
    match lines.len() {
        0 => format!("{},0", lines.start),
        1 => format!("{}", lines.start + 1),
        count => format!("{},{count}", lines.start + 1),
    }
}

fn write_lines(text: &mut String, sign: char, lines: &[&str], range: Range<usize>) {
    for line in lines.get(range).unwrap_or_default() {
        text.push(sign);
        text.push_str(line);
        if !line.ends_with('\n') {
            text.push_str("\n\\ No newline at end of file\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const TEN: &str = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n";

    #[test]
    fn the_same_text_has_no_hunks() {
        assert_eq!(unified(TEN, TEN), "");
        assert_eq!(unified("", ""), "");
    }

    #[test]
    fn changes_far_from_each_other_have_hunks_of_their_own() {
        let new = "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let expected = "@@ -1,3 +1,4 @@\n+0\n 1\n 2\n 3\n@@ -7,4 +8,3 @@\n 7\n 8\n 9\n-10\n";
        assert_eq!(unified(TEN, new), expected);
    }

    #[test]
    fn changes_near_each_other_share_a_hunk() {
        let expected = "@@ -1,9 +1,9 @@\n-1\n+a\n 2\n 3\n 4\n 5\n-6\n+b\n 7\n 8\n 9\n";
        assert_eq!(
            unified(TEN, &TEN.replace("1\n2", "a\n2").replace('6', "b")),
            expected
        );
    }

    #[test]
    fn a_missing_end_of_line_is_told_on_either_side() {
        assert_eq!(
            unified("a", "a\n"),
            "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n"
        );
        assert_eq!(unified("a\n", ""), "@@ -1 +0,0 @@\n-a\n");
    }

    #[test]
    fn what_it_shows_is_what_diff_shows() {
        let texts = [
            "",
            "a",
            "a\n",
            TEN,
            "1\n2\n3\nx\ny\n4\n5\n6\n7\n9\n10",
            "\n\n\n{\n}\n\n{\n}\n",
            "\n\n{\n}\n",
        ];
        let directory = tempfile::tempdir().unwrap();
        let paths = ["old", "new"].map(|name| directory.path().join(name));
        for (old, new) in texts.iter().flat_map(|old| texts.map(|new| (*old, new))) {
            std::fs::write(&paths[0], old).unwrap();
            std::fs::write(&paths[1], new).unwrap();
            let output = Command::new("diff")
                .arg("-u")
                .args(&paths)
                .output()
                .unwrap();
            let expected = String::from_utf8(output.stdout).unwrap();
            let hunks = expected.find("@@ ").map_or("", |at| &expected[at..]);
            assert_eq!(unified(old, new), hunks, "{old:?} {new:?}");
        }
    }
}
