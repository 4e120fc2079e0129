//! What the agent's file says about one interface.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use super::kept::Kept;
use crate::network::Interface;
use crate::render::guest::Guest;
use crate::render::systemd;
use crate::render::text::label_comment;

/// Returns the lines of an interface.
pub(super) fn section(
    interface: &Interface,
    nameservers: &[IpAddr],
    id: &str,
    kept: &Kept<'_>,
    guest: &Guest<'_>,
) -> String {
    let Interface { name, mac, .. } = interface;
    let mut text = String::new();
    if interface.label.is_some() {
        text.push_str(&format!("    {}", label_comment(interface)));
    }
    text.push_str(&format!("    {id}:\n"));
    let mut line = |line: &str| text.push_str(&format!("      {line}\n"));
    if guest.address_unchanged(interface) {
        line(&format!("match: {{macaddress: \"{mac}\"}}"));
        line(&format!("set-name: \"{name}\""));
    } else {
        line(&format!("match: {{name: \"{name}\"}}"));
    }
    if let Some(renderer) = kept.renderer {
        line(&format!("renderer: {renderer}"));
    }
    for (key, value) in &kept.settings {
        line(&format!("{key}: {value}"));
    }
    line("dhcp4: false");
    line("dhcp6: false");
    line("accept-ra: false");
    line(&format!("addresses: [{}]", quoted(interface.addresses())));
    if !nameservers.is_empty() || !kept.search.is_empty() {
        let mut parts = Vec::new();
        if !nameservers.is_empty() {
            parts.push(format!("addresses: [{}]", quoted(nameservers)));
        }
        if !kept.search.is_empty() {
            parts.push(format!("search: [{}]", quoted(&kept.search)));
        }
        line(&format!("nameservers: {{{}}}", parts.join(", ")));
    }
    let routes = routes(interface);
    if !routes.is_empty() {
        line("routes:");
        routes
            .iter()
            .for_each(|route| line(&format!("  - {{{route}}}")));
    }
    text
}

fn quoted<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items
        .into_iter()
        .map(|item| format!("\"{}\"", item.to_string()))
        .collect();
    items.join(", ")
}

/// Defaults are spelled as networks, because older versions know no other word for them.
fn routes(interface: &Interface) -> Vec<String> {
    let defaults = [
        ("0.0.0.0/0", interface.v4.gateway),
        ("::/0", interface.v6.gateway),
    ];
    let defaults = defaults
        .into_iter()
        .filter_map(|(to, gateway)| Some((to.to_string(), Some(gateway?))));
    let others = interface
        .routes
        .iter()
        .map(|route| (route.destination.to_string(), route.via));
    let spelled = defaults.chain(others).map(|(to, via)| match via {
        Some(via) => {
            let onlink = if systemd::must_be_onlink(via, interface) {
                ", on-link: true"
            } else {
                ""
            };
            format!("to: \"{to}\", via: \"{}\"{onlink}", via.address)
        }
        None => format!("to: \"{to}\", scope: link"),
    });
    spelled.collect()
}
