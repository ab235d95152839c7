"""python -m logitnorm book build|pdf"""

import sys

from .build import main

sys.exit(main())
