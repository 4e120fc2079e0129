//! Removes the managed interfaces from the files that are not the agent's.

use alloc::format;
use alloc::vec::Vec;

use super::definitions::Definitions;
use super::edit::{Fate, Rest, rest, take_out};
use super::kept::NETWORKD;
use super::sources::{Source, Sources, network};
use super::yaml::Entry;
use crate::render::context::Context;
use crate::render::error::{Refusal, Unclear};
use crate::render::text::HEADER;

/// Removes the managed interfaces from all files but the agent's own.
pub(super) fn clear(
    sources: &Sources,
    definitions: &Definitions<'_>,
    cx: &mut Context<'_>,
) -> Result<(), Refusal> {
    let fate = |entry: &Entry| fate(entry, definitions);
    let mut renderers: Vec<Option<&str>> = sources.foreign.iter().map(renderer).collect();
    for (nth, source) in sources.foreign.iter().enumerate() {
        let Source {
            path,
            replacement,
            hides_another,
            text,
            ..
        } = source;
        let cannot = |reason| Unclear::Yaml(reason).at(path);
        let Some(network) = network(source.root.as_ref()).map_err(cannot)? else {
            continue;
        };
        let nothing_left = match rest(network, &fate) {
            Rest::Everything => continue,
            Rest::Nothing => true,
            Rest::Renderer => {
                let others = renderers
                    .iter()
                    .enumerate()
                    .filter(|(other, _)| *other != nth);
                let last = others.filter_map(|(_, renderer)| *renderer).next_back();
                last.unwrap_or(NETWORKD) == definitions.renderer.unwrap_or(NETWORKD)
            }
            Rest::Something => false,
        };
        if nothing_left {
            if let Some(renderer) = renderers.get_mut(nth) {
                *renderer = None;
            }
            if *hides_another {
                cx.write_private(replacement, &format!("{HEADER}network:\n  version: 2\n"))?;
            } else {
                cx.remove(path);
            }
        } else {
            cx.write_private(
                replacement,
                &take_out(text, network, &fate).map_err(cannot)?,
            )?;
        }
    }
    Ok(())
}

/// Returns what becomes of an id of `ethernets`.
fn fate(entry: &Entry, definitions: &Definitions<'_>) -> Fate {
    let id = entry.key.as_str();
    let is_managed = definitions
        .managed
        .iter()
        .any(|definition| definition.id == id);
    if !is_managed {
        Fate::Stays
    } else if !definitions.references.contains(id) {
        Fate::Goes
    } else if entry.value.entries().is_empty() {
        // A device can only be built on what is defined before it, and the agent's file may come
        // later.
        Fate::Stays
    } else {
        Fate::IsEmptied
    }
}

/// Returns the renderer that a file sets for all devices.
fn renderer(source: &Source) -> Option<&str> {
    network(source.root.as_ref())
        .ok()??
        .get("renderer")?
        .scalar()
}
