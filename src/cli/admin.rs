//! The address of the pages for people who run the server: health, metrics and version.

use anabranch::kinesis::ServerOptions;
use clap::{ArgMatches, Args};

use super::exclusive::{Holds, decide};

#[derive(Debug, Clone, Args)]
pub(super) struct AdminArguments {
    /// Serve /health, /metrics and /version at this address instead of beside the API; port 0 takes a free one
    ///
    /// Requests to this address need no signature. An address that other machines can reach needs
    /// --allow-unsigned-beyond-loopback, also with --credentials. Without this option, the pages are beside the API,
    /// but with --credentials /metrics is not.
    #[arg(long, value_name = "HOST:PORT", env = "ANABRANCH_ADMIN_LISTEN")]
    admin_listen: Option<String>,

    /// Do not serve /health, /metrics and /version; not with --admin-listen
    #[arg(long, env = "ANABRANCH_NO_ADMIN")]
    no_admin: bool,

    /// Do not serve the console
    ///
    /// Without this option, the console is where /health, /metrics and /version are; with --credentials, only at
    /// --admin-listen.
    #[arg(long, env = "ANABRANCH_NO_CONSOLE")]
    no_console: bool,
}

impl AdminArguments {
    /// Decides between options that exclude each other.
    pub(super) fn settle(&mut self, matches: &ArgMatches) -> Result<(), String> {
        match decide(matches, "no_admin", "admin_listen")? {
            Holds::First => self.admin_listen = None,
            Holds::Second => self.no_admin = false,
            Holds::All => {}
        }
        Ok(())
    }

    pub(super) fn has_console(&self) -> bool {
        !self.no_console
    }

    pub(super) fn given_to(&self, options: ServerOptions) -> ServerOptions {
        let options = options.console(self.has_console());
        match &self.admin_listen {
            Some(listen) => options.admin_listen(listen),
            None => options.admin(!self.no_admin),
        }
    }
}
