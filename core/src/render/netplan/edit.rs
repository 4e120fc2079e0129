//! Taking ids out of a file and leaving the rest of it as it is.

use alloc::string::String;
use alloc::vec::Vec;

use super::definitions::ETHERNETS;
use super::yaml::{Entry, Lines, Node, Unclear};

/// What is left of a file without some ids.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Rest {
    /// Nothing is taken out.
    Everything,
    /// Nothing that means anything.
    Nothing,
    /// Nothing but who brings devices up.
    Renderer,
    /// Other devices, or settings of another kind.
    Something,
}

/// What would be left of a network without the ids in `ethernets` that are taken.
pub(super) fn rest(network: &Node, taken: &dyn Fn(&str) -> bool) -> Rest {
    let mut rest = Rest::Everything;
    let mut something = false;
    let mut renderer = false;
    for section in network.entries() {
        match section.key.as_str() {
            "version" => {}
            "renderer" => renderer = true,
            ETHERNETS if ids(section).any(|entry| taken(&entry.key)) => {
                rest = Rest::Nothing;
                something |= ids(section).any(|entry| !taken(&entry.key));
            }
            _ => something = true,
        }
    }
    match rest {
        Rest::Nothing if something => Rest::Something,
        Rest::Nothing if renderer => Rest::Renderer,
        rest => rest,
    }
}

/// The text without these ids.
///
/// # Errors
/// Why it cannot be done.
pub(super) fn take_out(text: &str, network: &Node, taken: &dyn Fn(&str) -> bool) -> Result<String, Unclear> {
    let mut gone: Vec<Lines> = Vec::new();
    for section in network.entries().iter().filter(|section| section.key == ETHERNETS) {
        if !ids(section).any(|entry| taken(&entry.key)) {
            continue;
        }
        if ids(section).all(|entry| taken(&entry.key)) {
            // A section without anything in it is an error.
            gone.push(lines(section)?);
            continue;
        }
        for entry in ids(section).filter(|entry| taken(&entry.key)) {
            gone.push(lines(entry)?);
        }
    }
    let is_gone = |nth: usize| gone.iter().any(|lines| (lines.first..=lines.last).contains(&nth));
    let kept = text.split_inclusive('\n').enumerate().filter(|(nth, _)| !is_gone(*nth));
    Ok(kept.map(|(_, line)| line).collect())
}

fn lines(entry: &Entry) -> Result<Lines, Unclear> {
    entry.alone.ok_or("an interface shares its lines with something else")
}

fn ids(section: &Entry) -> impl Iterator<Item = &Entry> {
    section.value.entries().iter().filter(|entry| entry.key != "renderer")
}

#[cfg(test)]
mod tests {
    use super::super::yaml::parse;
    use super::*;

    const TEXT: &str = "# mine\nnetwork:\n  version: 2\n  ethernets:\n    # first\n    eth0:\n      dhcp4: true # yes\n      \
                        addresses:\n      - 192.0.2.1/24\n\n    # second\n    eth1: {dhcp4: true}\n  vlans:\n    v:\n      \
                        id: 5\n      link: eth1";

    fn without(text: &str, taken: &[&str]) -> (Rest, Result<String, Unclear>) {
        let root = parse(text).unwrap().unwrap();
        let network = root.get("network").unwrap();
        let taken = |id: &str| taken.contains(&id);
        (rest(network, &taken), take_out(text, network, &taken))
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
        assert_eq!(text.unwrap(), "# mine\nnetwork:\n  version: 2\n  vlans:\n    v:\n      id: 5\n      link: eth1");
        let (rest, text) = without(TEXT, &["eth2"]);
        assert_eq!((rest, text), (Rest::Everything, Ok(TEXT.into())));
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
