/* Twilio's Programmable Messaging, as far as a channel needs it. */
#ifndef TESTS_SANDBOX_TWILIO_H
#define TESTS_SANDBOX_TWILIO_H

#include "tests/sandbox/exchange.h"

#define TWILIO "/twilio/2010-04-01"

void twilio_serve(struct exchange *x); /* behind its latency */

#endif
