//! Where the pages are for those who run the server: health, metrics and version.

use anabranch::kinesis::ServerOptions;
use clap::Args;

#[derive(Debug, Clone, Args)]
pub(super) struct AdminArguments {
    /// Have /health, /metrics and /version on an address of their own, and not beside the API; port 0 takes a free one
    ///
    /// No request there has to be signed. An address that other machines can reach needs --allow-unsigned-beyond-loopback, also
    /// with --credentials. Without this they are beside the API, but for /metrics if there is --credentials.
    #[arg(long, value_name = "HOST:PORT", env = "ANABRANCH_ADMIN_LISTEN")]
    admin_listen: Option<String>,

    /// Have no /health, /metrics and /version
    #[arg(long, conflicts_with = "admin_listen", env = "ANABRANCH_NO_ADMIN")]
    no_admin: bool,
}

impl AdminArguments {
    pub(super) fn given_to(&self, options: ServerOptions) -> ServerOptions {
        match &self.admin_listen {
            Some(listen) => options.admin_listen(listen),
            None => options.admin(!self.no_admin),
        }
    }
}
