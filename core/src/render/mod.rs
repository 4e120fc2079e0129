//! stub
use crate::effect::{Probe, Snapshot};
use crate::plan::Plan;
use alloc::string::String;
use alloc::vec::Vec;
pub struct HostData {
    pub hostname: Option<Vec<u8>>,
    pub networking: Vec<(String, Vec<u8>)>,
    pub vifs: Vec<(u32, String)>,
}
pub enum Prepared {
    Missing(Vec<Probe>),
    Ready(Configuration),
    Refused(String),
}
pub struct Configuration {
    pub plan: Plan,
    pub errors: Vec<String>,
    pub warnings: Vec<String>,
    pub target: &'static str,
}
pub fn reset_network(_: &HostData, _: &Snapshot) -> Prepared {
    Prepared::Refused("no".into())
}
pub fn set_hostname(_: &str, _: &Snapshot) -> Prepared {
    Prepared::Missing(Vec::new())
}
