//! Requests with any content, and requests that carry a secret.

use nova_agent_core::crypto::compat::PublicKey;
use nova_agent_core::effect::GuestPath;
use nova_agent_core::{CommandPolicy, Config};

use crate::host::{self, DIGESTS};
use crate::scene::{self, Section, support::systems};
use crate::world::{Applied, World};

/// What no input holds, and so nothing that is printed.
const SECRET: &[u8] = b"fEw4CaNaRy";

/// More would only make an input slow.
const REQUESTS_MAX: usize = 16;

/// An input without sections is one request. Sections are requests, facts for them, and failures:
///
/// - `request`: the bytes of a request node,
/// - `injectfile PATH`, `file_inject PATH`: a file with this content,
/// - `password DIGEST`: a key exchange and a password,
/// - `fail`: the next change of the guest fails with this text,
/// - `hostname`, `networking MAC`, `vif N`, `file PATH` and so on: what the store and the guest hold; see `scene`.
///
/// Each request is answered in a way that the host's reader bears. What a file or a password holds is seen in the change of
/// the guest alone: not in an answer, a report or anything that can be printed.
pub fn request(input: &[u8]) {
    let sections = scene::sections(input);
    let nodes = nodes(&sections);
    let nodes: Vec<(&str, &[u8])> = nodes
        .iter()
        .map(|(path, value)| (path.as_str(), value.as_slice()))
        .collect();
    let guest = scene::guest(&sections).unwrap_or_else(systems::debian);
    let config = Config {
        commands: CommandPolicy {
            allow_empty_password: true,
            ..CommandPolicy::default()
        },
        ..Config::default()
    };
    let mut world = World::new(config, guest, &nodes);
    world.hide(SECRET);
    // What the host says aloud is no secret.
    if world.hides_part_of(input) {
        return;
    }
    world.settle();
    let requests = sections
        .iter()
        .filter(|section| !section.kind.is_empty() || !section.content.is_empty());
    for section in requests.take(REQUESTS_MAX) {
        match section.kind {
            "" | "request" => drop(ask(&mut world, section.content)),
            "injectfile" | "file_inject" => inject(&mut world, section, input),
            "password" => set_password(&mut world, section),
            "fail" => world.fail_next(section.text()),
            _ => {}
        }
    }
    world.finish();
}

/// What the host has put into the store.
fn nodes(sections: &[Section<'_>]) -> Vec<(String, Vec<u8>)> {
    let data = scene::host(sections);
    let hostname = data
        .hostname
        .map(|hostname| ("vm-data/hostname".to_string(), hostname));
    let networking = data
        .networking
        .into_iter()
        .map(|(name, value)| (format!("vm-data/networking/{name}"), value));
    let vifs = data
        .vifs
        .into_iter()
        .map(|(number, mac)| (format!("device/vif/{number}/mac"), mac.into_bytes()));
    let fits = |value: &[u8]| value.len() <= nova_agent_core::wire::PAYLOAD_MAX;
    // No node has another name.
    let is_node = |path: &str| nova_agent_core::wire::StorePath::try_from(path).is_ok();
    hostname
        .into_iter()
        .chain(networking)
        .chain(vifs)
        .filter(|(path, value)| is_node(path) && fits(value))
        .collect()
}

/// The answer to a request: its code and message.
fn ask(world: &mut World, content: &[u8]) -> Option<(String, String)> {
    // What does not fit a reply of the store cannot be in it.
    if content.len() > nova_agent_core::wire::PAYLOAD_MAX {
        return None;
    }
    let id = world.post(content);
    world.settle();
    if content.is_empty() {
        return None;
    }
    let response = world.response(&id).expect("an answer");
    let response: serde_json::Value =
        serde_json::from_slice(response).expect("checked when it was written");
    let field = |name: &str| response[name].as_str().unwrap_or_default().to_string();
    Some((field("returncode"), field("message")))
}

fn inject(world: &mut World, section: &Section<'_>, input: &[u8]) {
    let content = [SECRET, section.content].concat();
    let one = [section.name.as_bytes(), b",", content.as_slice()].concat();
    let value = match section.kind {
        "injectfile" => serde_json::json!(host::base64(&one)),
        _ => serde_json::json!({
            "b64_path": host::base64(section.name.as_bytes()), "b64_file": host::base64(&content),
        }),
    };
    if let Some(secret) = secret_in_base64(&value.to_string())
        && !input.windows(secret.len()).any(|window| window == secret)
    {
        world.hide(&secret);
    }
    let request = serde_json::json!({ "name": section.kind, "value": value }).to_string();
    world.take_changes();
    let fails = world.is_about_to_fail();
    let Some((code, message)) = ask(world, request.as_bytes()) else {
        return;
    };
    if fails {
        return;
    }
    let is_named = section.kind == "file_inject" || !section.name.contains(',');
    match GuestPath::try_from(section.name) {
        Ok(path) if is_named && path != GuestPath::ROOT => {
            let expected = Applied::File(path, content);
            assert!(
                world.take_changes().contains(&expected),
                "the file was not written: {code} {message}"
            );
        }
        _ if is_named => assert_eq!(code, "500", "{message}"),
        _ => {}
    }
}

/// A piece of a text in base64 that comes of the content, which begins with the secret, if there is one that is not
/// ambiguous.
fn secret_in_base64(text: &str) -> Option<Vec<u8>> {
    // Four characters stand for three bytes; the lines are cut at 64.
    let line = text.rsplit("\\n").find(|line| line.len() >= 40)?.as_bytes();
    line.last_chunk::<32>().map(|piece| piece.to_vec())
}

fn set_password(world: &mut World, section: &Section<'_>) {
    let digest = DIGESTS[section.name.len() % DIGESTS.len()];
    let key = host::private_key(b"a host's private key").expect("enough bytes");
    let request = format!(r#"{{"name": "keyinit", "value": "{}"}}"#, key.public_key());
    let Some((code, message)) = ask(world, request.as_bytes()) else {
        return;
    };
    if code != "D0" {
        return;
    }
    let secret = host::agree(
        key,
        &PublicKey::try_from(message.as_str()).expect("a public key"),
    );
    let password = [SECRET, section.content.trim_ascii_end()].concat();
    let ciphertext = host::encrypt(&[password.as_slice(), b"\n"].concat(), &secret, digest);
    let request =
        serde_json::json!({ "name": "password", "value": host::base64(&ciphertext) }).to_string();
    world.take_changes();
    let Some((code, message)) = ask(world, request.as_bytes()) else {
        return;
    };
    let is_text = std::str::from_utf8(&password)
        .is_ok_and(|text| !text.chars().any(|c| c.is_control() && c != '\t'));
    let was_set = world.take_changes().contains(&Applied::Password(password));
    assert_eq!(was_set, is_text, "{code} {message}");
}
