//! What an operator, or a bench run that shows what a feature is worth, can switch off.

/// Every name that `disabled_features` takes.
pub const FEATURE_NAMES: &[&str] = &[
    "gso",
    "nack",
    "cache",
    "failover",
    "trunk_nack",
    "twcc",
    "backup",
    "sound_hold",
    "sender_reports",
    "offer_limits",
];

/// The features that act in shards; the trunk reads its own from the list of names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Features {
    /// Runs go out as one segmented send.
    pub gso: bool,
    /// Repair requests are sent and answered.
    pub nack: bool,
    /// Viewers start from the kept key frame.
    pub cache: bool,
    /// Publishers get transport-wide feedback.
    pub twcc: bool,
    /// Sound waits for a picture that players buffer.
    pub sound_hold: bool,
    /// Viewers learn how the clocks of their tracks belong together.
    pub sender_reports: bool,
    /// Offers are held against limits before they are parsed.
    pub offer_limits: bool,
}

impl Features {
    /// Everything but the named ones; the first unknown name comes back as the error.
    pub fn without<S: AsRef<str>>(disabled: &[S]) -> Result<Features, String> {
        if let Some(unknown) = disabled.iter().find(|name| !FEATURE_NAMES.contains(&name.as_ref())) {
            return Err(unknown.as_ref().to_owned());
        }
        let is_on = |feature: &str| !disabled.iter().any(|name| name.as_ref() == feature);
        Ok(Features {
            gso: is_on("gso"),
            nack: is_on("nack"),
            cache: is_on("cache"),
            twcc: is_on("twcc"),
            sound_hold: is_on("sound_hold"),
            sender_reports: is_on("sender_reports"),
            offer_limits: is_on("offer_limits"),
        })
    }
}
