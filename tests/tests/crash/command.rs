//! What the agent is asked for while it dies, and of which guest.

use std::os::unix::fs::chown;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nova_agent_core::secret::Secret;
use nova_agent_tests::agent::{Calls, Sandbox};
use nova_agent_tests::fixture::{Entry, Fixture, Tree};
use nova_agent_tests::host::{Host, KeyDigest, Server, encrypt};
use serde_json::json;

/// The password that is set.
pub(crate) const PASSWORD: &str = "Tr0ub4dor&3";

/// A file that exists, as one of its own users, who are not root.
const OWN_FILE: &str = "srv/app/settings.conf";
const OWNER: (u32, u32) = (1234, 5678);

/// A file in directories that do not exist.
const NEW_FILE: &str = "/opt/vendor/conf.d/settings.conf";

/// A command that changes the guest.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Command {
    Password,
    InjectOld,
    InjectNew,
    ResetNetwork,
}

impl Command {
    pub(crate) const ALL: [Self; 4] = [
        Self::Password,
        Self::InjectOld,
        Self::InjectNew,
        Self::ResetNetwork,
    ];

    /// For the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::InjectOld => "injectfile, old file",
            Self::InjectNew => "injectfile, new file",
            Self::ResetNetwork => "resetnetwork",
        }
    }

    /// The request. The agent has to run if keys have to be exchanged before.
    pub(crate) fn request(self, host: &mut Host) -> String {
        match self {
            Self::Password => {
                let exchange = host.exchange_keys().unwrap();
                let password = Secret::from(String::from(PASSWORD));
                json!({"name": "password", "value": encrypt(&exchange, &password, KeyDigest::Default).unwrap()})
            }
            Self::InjectOld => inject(&format!("/{OWN_FILE}")),
            Self::InjectNew => inject(NEW_FILE),
            Self::ResetNetwork => json!({"name": "resetnetwork", "value": ""}),
        }
        .to_string()
    }

    /// The same for an agent that does not run: it cannot know the exchange of this password, and refuses it.
    pub(crate) fn late_request(self, host: &mut Host) -> String {
        match self {
            Self::Password => {
                json!({"name": "password", "value": "hWP5OP7ypes7fweTnznY6A=="}).to_string()
            }
            Self::InjectOld | Self::InjectNew | Self::ResetNetwork => self.request(host),
        }
    }

    /// The system calls that are refused, each once. A reset of the network looks at most of the guest, and finds another
    /// one where it cannot: that is no matter of single calls.
    pub(crate) const fn calls_to_refuse(self) -> Calls {
        match self {
            Self::Password | Self::InjectOld | Self::InjectNew => Calls::FILES,
            Self::ResetNetwork => Calls::CHANGES,
        }
    }

    /// Whether an agent that was started after the request was made can carry it out.
    pub(crate) const fn survives(self) -> bool {
        match self {
            Self::Password => false,
            Self::InjectOld | Self::InjectNew | Self::ResetNetwork => true,
        }
    }
}

fn inject(path: &str) -> serde_json::Value {
    let content = (0..60)
        .map(|n| format!("option.{n} = new\n"))
        .collect::<String>();
    json!({"name": "injectfile", "value": STANDARD.encode(format!("{path},{content}"))})
}

/// Says to the store what every reset of the network takes from there.
pub(crate) fn provision(host: &mut Host) {
    host.provision(&Server::two_networks()).unwrap();
}

/// A Debian guest, always the same.
pub(crate) fn guest() -> Sandbox {
    let mut tree: Tree = Fixture::named("debian-12-ifupdown").tree();
    for directory in ["opt", "run", "srv", "srv/app", "var", "var/lib"] {
        tree.0
            .entry(directory.into())
            .or_insert(Entry::Directory(0o755));
    }
    // Larger than what is copied at once.
    let content = b"option = old\n".repeat(20_000);
    tree.0.insert(
        OWN_FILE.into(),
        Entry::File {
            content,
            mode: 0o640,
        },
    );
    let shadow = "# kept as it is\nroot:*:19000:0:99999:7:::\nalice:$6$abcdefgh$0123456789:19500:0:99999:7::20000:\nbroken line\nnobody:!:19000::::::";
    tree.0.insert(
        "etc/shadow".into(),
        Entry::File {
            content: shadow.into(),
            mode: 0o640,
        },
    );
    let sandbox = Sandbox::of(&tree);
    chown(sandbox.path(OWN_FILE), Some(OWNER.0), Some(OWNER.1)).expect("tests of owners need root");
    // Group shadow of Debian.
    chown(sandbox.path("/etc/shadow"), None, Some(42)).expect("tests of owners need root");
    sandbox
}
