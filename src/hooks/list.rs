//! Hooks from a list of names.

/// Makes of a list of names an enum of hooks and a trait with an empty method for each.
///
/// The enum's variants have the methods' names in camel case and the numbers given; the trait's `dispatch` calls the
/// method of a variant.
macro_rules! hooks {
    (
        $(#[$enum_doc:meta])* enum $enum:ident;
        $(#[$trait_doc:meta])* trait $trait:ident;
        $( $(#[$doc:meta])* $variant:ident = $number:literal, $method:ident; )*
    ) => {
        $(#[$enum_doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        #[non_exhaustive]
        pub enum $enum {
            $( $(#[$doc])* $variant = $number, )*
        }

        impl $enum {
            /// All of them, by number.
            pub const ALL: &'static [$enum] = &[ $( $enum::$variant, )* ];

            /// The name: that of the method.
            pub const fn name(self) -> &'static str {
                match self { $( $enum::$variant => stringify!($method), )* }
            }

            /// The number, which never changes its meaning.
            pub const fn number(self) -> u32 {
                self as u32
            }
        }

        impl ::std::fmt::Display for $enum {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.name())
            }
        }

        $(#[$trait_doc])*
        pub trait $trait: ::std::fmt::Debug + Send {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// Of your own: they end the run, as every error does.
                fn $method(&mut self, context: &mut $crate::hooks::Context<'_>) -> $crate::error::Result<()> {
                    let _ = context;
                    Ok(())
                }
            )*

            /// Calls the method of a hook.
            ///
            /// # Errors
            /// As the method.
            fn dispatch(&mut self, hook: $enum, context: &mut $crate::hooks::Context<'_>) -> $crate::error::Result<()> {
                match hook { $( $enum::$variant => self.$method(context), )* }
            }

            /// What the callback has to know when a run goes on later; it is kept in checkpoints. `None`: nothing.
            fn state_dict(&self) -> Option<::serde_json::Value> {
                None
            }

            /// Takes over what [`state_dict`](Self::state_dict) gave.
            ///
            /// # Errors
            /// `InvalidState` for what is not of this callback's form.
            fn load_state_dict(&mut self, state: &::serde_json::Value) -> $crate::error::Result<()> {
                let _ = state;
                Ok(())
            }

            /// Name under which the state is kept; two of one name are numbered.
            fn name(&self) -> &str {
                let name = ::std::any::type_name::<Self>();
                // The parameters of a generic type have paths of their own.
                let name = name.split('<').next().unwrap_or(name);
                name.rsplit("::").next().unwrap_or("callback")
            }
        }
    };
}

/// The part of a view's `impl Callback` that is the hooks' own.
macro_rules! of_hooks {
    () => {
        fn state_dict(&self) -> Option<::serde_json::Value> {
            self.hooks.state_dict()
        }

        fn load_state_dict(&mut self, state: &::serde_json::Value) -> $crate::error::Result<()> {
            self.hooks.load_state_dict(state)
        }

        fn name(&self) -> &str {
            self.hooks.name()
        }
    };
}

pub(crate) use {hooks, of_hooks};
