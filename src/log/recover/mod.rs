//! Opening logs, finding the ends of interrupted ones, and finding and repairing damage.

pub(super) mod frames_in_journal;
pub(super) mod journaled_frames;
pub(super) mod mend;
pub(super) mod open;
pub(super) mod put_back;
pub(super) mod recovery;
pub(super) mod survey;
pub(super) mod unnamed;
