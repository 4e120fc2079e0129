//! The nodes that the host makes of a server before it starts.

use super::mailbox::found;
use super::{Domain, Error, Host, Server, python};

impl Host {
    /// Writes a server's data as the toolstack does before the domain starts.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn provision(&mut self, server: &Server) -> Result<(), Error> {
        self.ensure_name(&server.hostname)?;
        self.write("vm-data/hostname", &server.hostname)?;
        self.write("vm-data/auto-disk-config", "False")?;
        for vif in &server.vifs {
            self.write(&format!("vm-data/networking/{}", vif.node), &vif.network)?;
        }
        for (key, value) in &server.metadata {
            self.write(
                &format!("vm-data/user-metadata/{}", metadata_node(key)),
                &python::dumps(value)?,
            )?;
        }
        Ok(())
    }

    /// A domain without a `name` counts as gone; one that a toolstack built has it.
    fn ensure_name(&mut self, name: &str) -> Result<(), Error> {
        if self.mailbox.domain == Domain::Own {
            return Ok(());
        }
        let path = self.path("name");
        if found(self.client().read(&path))?.is_none() {
            self.write("name", name)?;
        }
        Ok(())
    }

    fn write(&mut self, node: &str, value: &str) -> Result<(), Error> {
        let path = self.path(node);
        Ok(self.client().write(&path, value)?)
    }
}

/// The name of a metadata key's node: what a path may not hold becomes an underscore.
fn metadata_node(key: &str) -> String {
    key.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-_@".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_keys_become_names_of_nodes() {
        assert_eq!(
            metadata_node("rax:auto/scale id\u{e9}-_@9"),
            "rax_auto_scale_id_-_@9"
        );
    }
}
