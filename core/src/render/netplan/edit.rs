//! Removes ids from a file and leaves the rest of it as it is.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::definitions::ETHERNETS;
use super::yaml::{Entry, Lines, Node, Unclear};

/// What is left of a file after ids are removed.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Rest {
    /// No id is removed.
    Everything,
    /// Nothing with an effect is left.
    Nothing,
    /// Only the renderer is left.
    Renderer,
    /// Other devices or settings are left.
    Something,
}

/// What becomes of an id in `ethernets`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    Stays,
    Goes,
    /// The id stays, without its settings.
    IsEmptied,
}

/// Returns what would be left of a network.
pub(super) fn rest(network: &Node, fate: &dyn Fn(&Entry) -> Fate) -> Rest {
    let mut rest = Rest::Everything;
    let mut something = false;
    let mut renderer = false;
    for section in network.entries() {
        match section.key.as_str() {
            "version" => {}
            "renderer" => renderer = true,
            ETHERNETS if ids(section).any(|entry| fate(entry) != Fate::Stays) => {
                rest = Rest::Nothing;
                something |= ids(section).any(|entry| fate(entry) != Fate::Goes);
            }
            _ => something = true,
        }
    }
    match rest {
        Rest::Nothing if something => Rest::Something,
        Rest::Nothing if renderer => Rest::Renderer,
        Rest::Everything | Rest::Nothing | Rest::Renderer | Rest::Something => rest,
    }
}

/// Returns the text that is left.
///
/// # Errors
/// Why it cannot be done.
pub(super) fn take_out(
    text: &str,
    network: &Node,
    fate: &dyn Fn(&Entry) -> Fate,
) -> Result<String, Unclear> {
    // The lines to remove, and the id that stays in their place.
    let mut gone: Vec<(Lines, Option<&str>)> = Vec::new();
    for section in network
        .entries()
        .iter()
        .filter(|section| section.key == ETHERNETS)
    {
        let mut fates = ids(section).map(fate);
        if fates.clone().count() > 0 && fates.all(|fate| fate == Fate::Goes) {
            // A section without anything in it is an error.
            gone.push((lines(section)?, None));
            continue;
        }
        for entry in ids(section) {
            match fate(entry) {
                Fate::Stays => {}
                Fate::Goes => gone.push((lines(entry)?, None)),
                Fate::IsEmptied => gone.push((lines(entry)?, Some(&entry.key))),
            }
        }
    }
    let mut left = String::new();
    for (nth, line) in text.split_inclusive('\n').enumerate() {
        match gone
            .iter()
            .find(|(lines, _)| (lines.first..=lines.last).contains(&nth))
        {
            None => left.push_str(line),
            Some((lines, Some(id))) if lines.first == nth => {
                let indentation: String = line.chars().take_while(|c| *c == ' ').collect();
                let id = spelled(id).ok_or("an id that is strange")?;
                left.push_str(&format!("{indentation}{id}: {{}}\n"));
            }
            Some(_) => {}
        }
    }
    Ok(left)
}

/// An id as a key, if it can be written without escapes.
pub(super) fn spelled(id: &str) -> Option<String> {
    let needs_no_quotes = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if id.bytes().all(needs_no_quotes) && id.starts_with(|first: char| first.is_ascii_alphabetic())
    {
        return Some(id.to_string());
    }
    let is_plain = |c: char| c == ' ' || (c.is_ascii_graphic() && !"\"\\".contains(c));
    id.chars().all(is_plain).then(|| format!("\"{id}\""))
}

fn lines(entry: &Entry) -> Result<Lines, Unclear> {
    entry
        .alone
        .ok_or("an interface shares its lines with something else")
}

fn ids(section: &Entry) -> impl Iterator<Item = &Entry> + Clone {
    section
        .value
        .entries()
        .iter()
        .filter(|entry| entry.key != "renderer")
}

#[cfg(test)]
mod tests {
    use super::super::yaml::parse;
    use super::*;

    const TEXT: &str = "# mine
network:
  version: 2
  ethernets:
    # first
    eth0:
      dhcp4: true # yes
      addresses:
      - 192.0.2.1/24

    # second
    eth1: {dhcp4: true}
  vlans:
    v:
      id: 5
      link: eth1";

    fn without(text: &str, taken: &[&str]) -> (Rest, Result<String, Unclear>) {
        let root = parse(text).unwrap().unwrap();
        let network = root.get("network").unwrap();
        let fate = |entry: &Entry| {
            if taken.contains(&&*entry.key) {
                Fate::Goes
            } else {
                Fate::Stays
            }
        };
        (rest(network, &fate), take_out(text, network, &fate))
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        let (rest, text) = without(TEXT, &["eth0"]);
        assert_eq!(rest, Rest::Something);
        assert_eq!(
            text.unwrap(),
            "# mine\nnetwork:\n  version: 2\n  ethernets:\n    # first\n\n    # second\n    eth1: {dhcp4: true}\n  \
             vlans:\n    v:\n      id: 5\n      link: eth1"
        );
        let (_, text) = without(TEXT, &["eth0", "eth1"]);
        assert_eq!(
            text.unwrap(),
            "# mine\nnetwork:\n  version: 2\n  vlans:\n    v:\n      id: 5\n      link: eth1"
        );
        let (rest, text) = without(TEXT, &["eth2"]);
        assert_eq!((rest, text), (Rest::Everything, Ok(TEXT.into())));
    }

    #[test]
    fn an_id_may_stay_without_a_body() {
        let root = parse(TEXT).unwrap().unwrap();
        let network = root.get("network").unwrap();
        let text = take_out(TEXT, network, &|_| Fate::IsEmptied).unwrap();
        assert_eq!(
            text,
            "# mine\nnetwork:\n  version: 2\n  ethernets:\n    # first\n    eth0: {}\n\n    # second\n    eth1: {}\n  \
             vlans:\n    v:\n      id: 5\n      link: eth1"
        );
        assert_eq!(rest(network, &|_| Fate::IsEmptied), Rest::Something);
        assert_eq!(
            [spelled("a 1"), spelled("a\"")],
            [Some("\"a 1\"".into()), None]
        );
    }

    #[test]
    fn what_is_left_may_mean_nothing() {
        let only = "network: {version: 2, ethernets: {renderer: networkd, eth0: {}}}";
        assert_eq!(without(only, &["eth0"]).0, Rest::Nothing);
        let renderer = "network: {renderer: NetworkManager, ethernets: {eth0: {}}}";
        assert_eq!(without(renderer, &["eth0"]).0, Rest::Renderer);
        assert_eq!(without(renderer, &[]).0, Rest::Everything);
    }

    #[test]
    fn an_id_in_the_middle_of_a_line_cannot_be_taken_out() {
        for text in [
            "network: {ethernets: {eth0: {}, eth1: {}}}",
            "network:\n  ethernets: {eth0: {}, eth1: {}}",
            "network:\n  ethernets: {\n    eth0: {},\n    eth1: {}}",
            "network:\n  ethernets:\n    ? eth0\n    : {}\n    eth1: {}",
        ] {
            assert!(without(text, &["eth0"]).1.is_err(), "{text}");
        }
    }
}
