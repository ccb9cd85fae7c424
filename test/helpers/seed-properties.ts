import fc from 'fast-check'
import { seed } from './seed.ts'

// Before each test file: properties that name no seed take that of the run.
fc.configureGlobal({ ...fc.readConfigureGlobal(), seed })
