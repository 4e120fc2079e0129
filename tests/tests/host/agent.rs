//! The smallest agent that can answer the host, for testing the host alone.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nova_agent_core::Instant;
use nova_agent_core::crypto::compat::{ENTROPY_MIN, PrivateKey, PublicKey};
use nova_agent_core::crypto::exchanges::Exchanges;
use nova_agent_core::secret::Secret;
use nova_agent_core::wire::ErrorName;
use nova_agent_tests::client::{Client, Error};
use serde_json::{Value, json};

/// What the agent was told.
#[derive(Default)]
pub(crate) struct State {
    requests: Vec<String>,
    commands: Vec<String>,
    passwords: Vec<String>,
    files: Vec<(String, Vec<u8>)>,
    exchanges: Exchanges,
}

/// An agent on a thread of its own, which ends when this is dropped.
pub(crate) struct ScriptedAgent {
    state: Arc<Mutex<State>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ScriptedAgent {
    /// Answers every request with the response that `script` gives. Returns when requests are watched.
    pub(crate) fn start(
        socket: &Path,
        mut script: impl FnMut(&str, &Value, &mut State) -> Vec<u8> + Send + 'static,
    ) -> Self {
        let (state, end) = (Arc::<Mutex<State>>::default(), Arc::<AtomicBool>::default());
        let mut client = Client::connect(socket).unwrap();
        client.watch("data/host", "requests").unwrap();
        let thread = std::thread::spawn({
            let (state, end) = (Arc::clone(&state), Arc::clone(&end));
            move || {
                while !end.load(Ordering::Relaxed) {
                    let event = match client.event(Duration::from_millis(20)) {
                        Ok(event) => event,
                        Err(Error::TimedOut) => continue,
                        Err(error) => panic!("agent: {error}"),
                    };
                    let ids = match event.path.as_str().strip_prefix("data/host/") {
                        Some(id) => vec![id.to_owned()],
                        // After a restore, what came before the watch was registered again has no event of its own.
                        None => client.list("data/host").unwrap_or_default(),
                    };
                    for id in ids {
                        let path = format!("data/host/{id}");
                        // The event of the own removal finds nothing.
                        let Ok(request) = client.read_text(&path) else {
                            continue;
                        };
                        let response = respond(&request, &mut state.lock().unwrap(), &mut script);
                        client.write(&format!("data/guest/{id}"), response).unwrap();
                        match client.rm(&path) {
                            Ok(()) => {}
                            // The domain was restored since, and its requests are gone.
                            Err(Error::Store(ErrorName::Enoent)) => {}
                            Err(error) => panic!("agent: {error}"),
                        }
                    }
                }
            }
        });
        Self {
            state,
            end,
            thread: Some(thread),
        }
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }

    pub(crate) fn commands(&self) -> Vec<String> {
        self.state.lock().unwrap().commands.clone()
    }

    pub(crate) fn passwords(&self) -> Vec<String> {
        self.state.lock().unwrap().passwords.clone()
    }

    pub(crate) fn files(&self) -> Vec<(String, Vec<u8>)> {
        self.state.lock().unwrap().files.clone()
    }
}

impl Drop for ScriptedAgent {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let ended = self.thread.take().unwrap().join();
        assert!(
            ended.is_ok() || std::thread::panicking(),
            "the agent's thread panicked"
        );
    }
}

/// A script that knows every command.
pub(crate) fn complete(name: &str, value: &Value, state: &mut State) -> Vec<u8> {
    match name {
        "version" => reply("0", "3.0.0"),
        "features" => reply("0", "version,features,injectfile,file_inject"),
        "keyinit" => {
            let mut entropy = vec![0; ENTROPY_MIN];
            File::open("/dev/urandom")
                .unwrap()
                .read_exact(&mut entropy)
                .unwrap();
            let key = PrivateKey::from_entropy(Secret::new(entropy)).unwrap();
            let public = key.public_key().to_string();
            let host = PublicKey::try_from(value.as_str().unwrap()).unwrap();
            state.exchanges.insert(Instant::default(), key.agree(&host));
            reply("D0", &public)
        }
        "password" => match state.exchanges.decrypt(value.as_str().unwrap()) {
            Ok(password) => {
                state
                    .passwords
                    .push(String::from_utf8(password.expose().to_vec()).unwrap());
                reply("0", "")
            }
            Err(error) => reply("500", &error.to_string()),
        },
        "injectfile" => {
            let joined = STANDARD.decode(value.as_str().unwrap()).unwrap();
            let comma = joined.iter().position(|byte| *byte == b',').unwrap();
            let path = String::from_utf8(joined[..comma].to_vec()).unwrap();
            state.files.push((path, joined[comma + 1..].to_vec()));
            reply("0", "")
        }
        "file_inject" => {
            let decode = |key: &str| STANDARD.decode(value[key].as_str().unwrap()).unwrap();
            state.files.push((
                String::from_utf8(decode("b64_path")).unwrap(),
                decode("b64_file"),
            ));
            reply("0", "")
        }
        _ => reply("0", ""),
    }
}

/// A response as an agent writes it.
pub(crate) fn reply(returncode: &str, message: &str) -> Vec<u8> {
    json!({"returncode": returncode, "message": message})
        .to_string()
        .into_bytes()
}

fn respond(
    request: &str,
    state: &mut State,
    script: &mut impl FnMut(&str, &Value, &mut State) -> Vec<u8>,
) -> Vec<u8> {
    state.requests.push(request.into());
    // A raw line break, which the host's tools put into strings, is nothing that JSON allows.
    let Value::Object(object) = serde_json::from_str(&request.replace('\n', "\\n")).unwrap() else {
        panic!("not an object: {request}")
    };
    let name = object["name"].as_str().unwrap();
    state.commands.push(name.into());
    script(name, &object["value"], state)
}
