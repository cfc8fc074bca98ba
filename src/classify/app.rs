//! The applications that are told apart, and the traffic class of each.

use crate::named::named;

named! {
    /// What traffic is for.
    Traffic {
        /// Not recognised.
        Unknown = "unknown",
        /// Setting up and ending calls: SIP, MGCP, H.323, ...
        VoiceSignalling = "voice-signalling",
        /// What is said: RTP, RTCP.
        VoiceMedia = "voice-media",
        /// What subscribers do on the internet.
        Internet = "internet",
        /// How routers and switches find paths and neighbours.
        Routing = "routing",
        /// How the network is operated: SNMP, SSH, NTP, ...
        Management = "management",
        /// SS7 over IP, Diameter, GTP.
        MobileSignalling = "mobile-signalling",
    }
}

named! {
    /// What a label rests on, strongest first.
    Basis {
        /// The bytes say so: a magic number, a start line, a protocol number.
        Signature = "signature",
        /// A series of packets behaves like it.
        Behaviour = "behaviour",
        /// Only the port says so: a guess.
        Port = "port",
    }
}

named! {
    /// An application.
    App {
        /// SIP, RFC 3261.
        Sip = "sip",
        /// RTP, RFC 3550.
        Rtp = "rtp",
    }
}

impl App {
    /// The traffic class it belongs to.
    pub const fn traffic(self) -> Traffic {
        match self {
            Self::Sip => Traffic::VoiceSignalling,
            Self::Rtp => Traffic::VoiceMedia,
        }
    }
}
