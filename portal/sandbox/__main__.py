"""`python -m portal.sandbox`: run the sandbox."""

from portal.sandbox.serving import main

raise SystemExit(main())
