//! Single lines of shell files, and the names of variables in them.

use alloc::format;
use alloc::string::String;

use super::context::Context;
use crate::network::InterfaceName;

/// Returns the name of an interface as a part of a shell variable's name, which cannot hold dots or
/// dashes.
pub(super) fn variable(name: &InterfaceName) -> String {
    name.as_str()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}

/// Returns the lines of an old ifcfg file that are kept: those that assign a plain word to a key
/// that the agent does not write.
pub(super) fn kept_lines(
    old: impl IntoIterator<Item = impl AsRef<str>>,
    is_ours: impl Fn(&str) -> bool,
    interface: &InterfaceName,
    cx: &mut Context<'_>,
) -> String {
    let mut kept = String::new();
    for line in old {
        let line = line.as_ref().trim_ascii();
        if line.is_empty() || line.starts_with('#') || key_of(line).is_some_and(&is_ours) {
            continue;
        }
        if is_plain(line) {
            kept.push_str(&format!("{line}\n"));
        } else {
            cx.warn(format!(
                "ifcfg-{interface}: a line was dropped that is no plain assignment"
            ));
        }
    }
    kept
}

/// Returns the key that a line assigns to.
pub(super) fn key_of(line: &str) -> Option<&str> {
    let line = line.trim_ascii_start();
    let line = line
        .strip_prefix("export ")
        .unwrap_or(line)
        .trim_ascii_start();
    let (key, _) = line.split_once('=')?;
    let mut bytes = key.bytes();
    let first = bytes.next()?;
    let valid = (first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
    valid.then_some(key)
}

/// Returns whether a line assigns one word and nothing else: no expansion, no command, no open
/// quote or line. Only such a line can be copied without interpreting it as a shell would.
pub(super) fn is_plain(line: &str) -> bool {
    let line = line.trim_ascii();
    let Some((key, value)) = line.split_once('=') else {
        return false;
    };
    if key_of(line) != Some(key) {
        return false;
    }
    let plain = |c: char| c.is_ascii_graphic() && !"$`\\\"'".contains(c);
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote) {
            return inner
                .strip_suffix(quote)
                .is_some_and(|inner| inner.chars().all(|c| plain(c) || c == ' '));
        }
    }
    value
        .chars()
        .all(|c| plain(c) && !"&;|<>()#*?[]~!{}".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_single_words_are_plain() {
        for plain in [
            "ZONE=public\n",
            " MTU=1500",
            "E=\"speed 1000 duplex full\"",
            "S='a b'",
            "X=",
        ] {
            assert!(is_plain(plain), "{plain:?}");
        }
        for shell in [
            "A=$(x)",
            "A=`x`",
            "A=b \\",
            "A=\"b",
            "A='b",
            "A=b c",
            "A=b;c",
            "A=\"$B\"",
            "export A=1",
            "# c",
            "f() {",
            "A=(1)",
            "A=\"b\"; c \"\"",
            "A='x'y'",
            "A=\"b\" c=\"d\"",
        ] {
            assert!(!is_plain(shell), "{shell:?}");
        }
    }
}
