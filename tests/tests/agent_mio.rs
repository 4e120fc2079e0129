//! The agent with one poller. What `NOVA_AGENT` names is tested instead, if it is set.
#![deny(unsafe_code)]

use nova_agent_tests::agent::Runtime;

/// What the suite tests. Another runtime has a file like this one, and the same suite.
const RUNTIME: Runtime = Runtime::MIO;

mod conformance;
